"""Which Redis, and how to get there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from resqpy.base.keys import DEFAULT_NAMESPACE
from resqpy.store.reachability import Reachability


@dataclass(frozen=True)
class RedisOptions:
    """Where Redis is.

    Attributes:
        url: `redis://`, `rediss://` (TLS) or `unix://`, with user, password and database in it.
        namespace: what stands before every key; `{resque}` for a Cluster.
            With `cluster` it may name several hosts: `redis://a:7000,b:7000`.
        sentinels: `(host, port)` of each Sentinel, or `rediss://host:port` for TLS; then `url` gives
            user, password and database.
        sentinel_service: the name under which the Sentinels know the master.
        sentinel_kwargs: how to log in to the Sentinels themselves; `ssl`: by TLS.
        cluster: whether `url` is a node of a Redis Cluster.
        seeds: `(host, port)` of further nodes: one that can be reached is enough.
        connect_timeout_s, reply_timeout_s: seconds until a silent Redis counts as gone.
        startup_timeout_s: seconds that a start waits for Redis.
        wait_replicas: how many replicas must confirm what is enqueued, before the enqueue returns.
        wait_timeout_s: seconds that this may take.
        extra: further keywords of redis-py's `Connection` (certificates, for example).
        reachability: what all connections made by these options report.
    """

    url: str = field(default="redis://127.0.0.1:6379/0", repr=False)
    namespace: str | Sequence[str] = DEFAULT_NAMESPACE
    sentinels: Sequence[tuple[str, int] | str] = ()
    sentinel_service: str = "mymaster"
    sentinel_kwargs: Mapping[str, Any] = field(default_factory=dict, repr=False)
    cluster: bool = False
    seeds: Sequence[tuple[str, int]] = ()
    connect_timeout_s: float = 5.0
    reply_timeout_s: float = 15.0
    startup_timeout_s: float = 30.0
    wait_replicas: int = 0
    wait_timeout_s: float = 1.0
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)
    reachability: Reachability = field(
        default_factory=Reachability, init=False, repr=False, compare=False
    )
