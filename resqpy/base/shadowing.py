"""A shadow run: one beside the run of another language, which changes nothing of ours. What it would have enqueued
is noted, and whatever else would write is refused. A context variable tells who runs in one, also in its threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from resqpy.base.errors import ShadowRefused


class NotedJob(NamedTuple):
    """A job that a shadow run would have enqueued.

    Attributes:
        at_ms: when it would have been due, in milliseconds since the epoch; None: `in_ms` after the call.
        in_ms: 0: at once.
    """

    class_name: str
    queue: str
    args: Sequence[Any]
    at_ms: int | None = None
    in_ms: int = 0


class Shadow:
    """One shadow run.

    Attributes:
        jobs: what it would have enqueued, in its order; the first of them.
        wanted: how many they were.
        over: it has ended: what it left behind, or opened for others, can't enqueue any more.
    """

    MOST = 20

    def __init__(self) -> None:
        self.jobs: list[NotedJob] = []
        self.wanted: int = 0
        self.over: bool = False

    def note(self, job: NotedJob) -> None:
        """It would have enqueued a job."""
        if self.over:
            words = f"{job.class_name!r} was not enqueued: the shadow run that this code belongs to has ended"
            raise ShadowRefused(f"{words}; do it within the run, or not where run.shadow is true")
        self.wanted += 1
        if len(self.jobs) < self.MOST:
            self.jobs.append(job)


_SHADOW: ContextVar[Shadow | None] = ContextVar("resqpy_shadow", default=None)
shadow_run = _SHADOW.get  # the shadow run that this code is part of; None: it is part of none


def begin_shadow(shadow: Shadow) -> None:
    """From here on this task, and whatever it starts, is part of a shadow run."""
    _SHADOW.set(shadow)


@contextmanager
def out_of_shadow() -> Iterator[None]:
    """What is started within is part of no shadow run."""
    token = _SHADOW.set(None)
    try:
        yield
    finally:
        _SHADOW.reset(token)


_READS = frozenset({
    "EXISTS", "GET", "GETRANGE", "HEXISTS", "HGET", "HGETALL", "HLEN", "HMGET", "HSCAN", "LINDEX", "LLEN",
    "LPOS", "LRANGE", "MGET", "PTTL", "SCAN", "SCARD", "SISMEMBER", "SMEMBERS", "SMISMEMBER", "SSCAN", "STRLEN",
    "TTL", "TYPE", "XLEN", "XRANGE", "XREVRANGE", "ZCARD", "ZCOUNT", "ZRANGE", "ZRANGEBYSCORE", "ZREVRANGE",
    "ZREVRANGEBYSCORE", "ZSCAN", "ZSCORE",
})  # fmt: skip
# Of our scripts those that read, and those of limits for whatever is outside of Redis (`api.limit(…)`).
_SCRIPTS = frozenset({"task_page", "task_sought", "slot_take", "slot_end", "shut_limit"})


def refuse_script(name: str) -> None:
    """In a shadow run: refuse a script that writes.

    Raises:
        ShadowRefused: what to do.
    """
    if _SHADOW.get() is not None and name not in _SCRIPTS:
        raise _refused(name)


def refuse_writes(commands: Sequence[Sequence[Any]], prefix: str) -> None:
    """In a shadow run: refuse commands that write below a prefix of keys; others are the user's own.

    Raises:
        ShadowRefused: what to do.
    """
    if _SHADOW.get() is None:
        return
    for command in commands:
        keys = (
            each.decode("utf-8", "replace") if isinstance(each, bytes) else each
            for each in command[1:]
        )
        ours = any(isinstance(each, str) and each.startswith(prefix) for each in keys)
        if ours and str(command[0]).upper() not in _READS:
            raise _refused(str(command[0]))


def _refused(what: str) -> ShadowRefused:
    return ShadowRefused(
        f"nothing was written: a shadow run changes nothing of resqpy's ({what}), it only notes what it would "
        "enqueue; ask run.shadow before it"
    )
