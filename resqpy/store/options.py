"""Which Redis, and how to get there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from resqpy.base.keys import DEFAULT_NAMESPACE


@dataclass(frozen=True)
class RedisOptions:
    """Where Redis is.

    Attributes:
        url: `redis://`, `rediss://` (TLS) or `unix://`, with user, password and database in it.
        namespace: what stands before every key; `{resque}` for a Cluster.
        sentinels: `(host, port)` of each Sentinel; then `url` gives user, password and database.
        sentinel_service: the name under which the Sentinels know the master.
        sentinel_kwargs: how to log in to the Sentinels themselves.
        cluster: whether `url` is a node of a Redis Cluster.
        connect_timeout_s, reply_timeout_s: seconds until a silent Redis counts as gone.
        extra: further keywords of redis-py's `Connection` (certificates, for example).
    """

    url: str = field(default="redis://127.0.0.1:6379/0", repr=False)
    namespace: str | Sequence[str] = DEFAULT_NAMESPACE
    sentinels: Sequence[tuple[str, int]] = ()
    sentinel_service: str = "mymaster"
    sentinel_kwargs: Mapping[str, Any] = field(default_factory=dict, repr=False)
    cluster: bool = False
    connect_timeout_s: float = 5.0
    reply_timeout_s: float = 15.0
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)
