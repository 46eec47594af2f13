"""How to connect to Redis: the one place for the defaults, which config and docs read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from resqpy.base.errors import UsageError
from resqpy.base.keys import DEFAULT_NAMESPACE, check_queue_name
from resqpy.base.model import described
from resqpy.store.connection.reachability import Reachability


@dataclass(frozen=True)
class RedisOptions:
    """How to connect to Redis.

    Attributes:
        url: `redis://`, `rediss://` (TLS) or `unix://`, with user, password and database in it. With
            `cluster` it may name several hosts: `redis://a:7000,b:7000`.
        sentinel_kwargs: the login for the Sentinels themselves; `ssl`: use TLS.
        extra: additional keywords of redis-py's `Connection` (certificates, for example).
        reachability: what all connections made with these options report.
    """

    url: str = field(default="redis://127.0.0.1:6379/0", repr=False)
    namespace: str | Sequence[str] = described(
        DEFAULT_NAMESPACE,
        "Prefix of every Redis key; '{resque}' on a Cluster; '' is none, as Node allows.",
    )
    sentinels: Sequence[tuple[str, int] | str] = described(
        (),
        "The Sentinels, 'rediss://host:port' for TLS; login and database then come from url or host.",
    )
    sentinel_service: str = described("mymaster", "The Sentinels' name for the master.")
    sentinel_kwargs: Mapping[str, Any] = field(default_factory=dict, repr=False)
    cluster: bool = described(
        False, "Whether it is a Redis Cluster; url may name several nodes: redis://a,b,c."
    )
    seeds: Sequence[tuple[str, int]] = described(
        (), "More nodes of the Cluster; one reachable node is enough."
    )
    connect_timeout_s: float = described(5.0, "How long a connection may take to open.")
    reply_timeout_s: float = described(15.0, "How long Redis may take to reply.")
    startup_timeout_s: float = described(
        30.0, "How long a worker, a scheduler or an application waits for Redis when it starts."
    )
    wait_replicas: int = described(
        0, "How many replicas must confirm an enqueue before it returns; 0: none."
    )
    wait_timeout_s: float = described(
        1.0, "How long the replicas may take; then UnderReplicated is raised."
    )
    queue_limits: Mapping[str, int] | None = described(
        None,
        "How many jobs may wait in a queue, by its name, when one more is enqueued; None: any number.",
    )
    full_queue_wait_s: float = described(
        0.0, "How long an enqueue waits for room in a full queue; then QueueFull is raised."
    )
    ruby_queues: Sequence[str] = described(
        (),
        "Queues (names or globs) whose jobs are enqueued with Ruby's bytes, so that its dequeue and "
        "remove_delayed find them.",
    )
    failed_per_queue: bool = described(
        False,
        "Whether what fails goes to a failed list of its queue, `QUEUE_failed`, as with Ruby's RedisMultiQueue.",
    )
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)
    reachability: Reachability = field(
        default_factory=Reachability, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        checked_limits(self.queue_limits)
        named: Sequence[object] = self.ruby_queues
        if isinstance(named, str) or not all(isinstance(each, str) and each for each in named):
            raise UsageError(f"ruby_queues: {named!r} is not a list of names of queues")


def checked_limits(limits: Mapping[str, Any] | None) -> Mapping[str, int] | None:
    """How many jobs may wait in queues, by their names.

    Raises:
        UsageError: which is no queue, or no number of jobs.
    """
    for queue, limit in (limits or {}).items():
        check_queue_name(queue)
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise UsageError(
                f"queue_limits: {limit!r} of {queue!r} is no number of jobs, 1 or more"
            )
    return limits
