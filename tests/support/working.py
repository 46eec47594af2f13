"""Workers in tests: started with a few words, with everything that they told."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from resqpy import MultiWorker, ScalingOptions, WorkerOptions
from resqpy.base.clock import SYSTEM_CLOCK, Clock
from resqpy.store.connection.options import RedisOptions
from resqpy.store.connection.tracker import Tracker
from tests.support.waiting import PATIENCE_S, wait_for

EVENTS = (
    "start",
    "end",
    "poll",
    "ping",
    "job",
    "success",
    "failure",
    "error",
    "pause",
    "re_enqueue",
)
TIMEOUTS: dict[str, Any] = {"connect_timeout_s": 5.0, "reply_timeout_s": 5.0}


class Working:
    """A worker and what it told, in its order.

    Attributes:
        told: (event, arguments); polls and pauses only if asked for.
        ended: how many jobs succeeded or failed.
    """

    def __init__(self, worker: MultiWorker, events: tuple[str, ...]) -> None:
        self.worker = worker
        self.told: list[tuple[str, tuple[Any, ...]]] = []
        self.ended = 0
        for event in events:
            worker.on(event, self._listener(event))

    def _listener(self, event: str) -> Any:
        def note(*args: Any) -> None:
            self.told.append((event, args))
            self.ended += event in ("success", "failure")

        return note

    def args(self, event: str) -> list[tuple[Any, ...]]:
        """The arguments of each such event."""
        return [args for name, args in self.told if name == event]

    @property
    def errors(self) -> str:
        """The words of all errors."""
        return "\n".join(str(args[0]) for args in self.args("error"))

    async def until_quiet(self) -> None:
        """Wait until it asks Redis for nothing more, not even for a job that is there."""
        await at_rest(self.worker)

    async def until(self, count: int, timeout: float = PATIENCE_S) -> None:
        """Wait until so many jobs have ended; however long that takes, if only they go on ending.

        Raises:
            AssertionError: for `timeout` seconds none has.
        """
        while (before := self.ended) < count:
            words = f"another job of {count} ended; {before} have"
            await wait_for(lambda before=before: self.ended > before, timeout, words)  # type: ignore[misc]


async def at_rest(worker: MultiWorker) -> None:
    """Return when it listens to Redis, has heard all that Redis has told it so far, and has asked for
    what that was about. From then on it asks for nothing but for new reasons and by its heartbeat.
    """
    wakeup, pool, line = worker._wakeup, worker.pool, worker.pool.reporting.exchange.line
    assert wakeup is not None
    await wait_for(lambda: wakeup.tracker.live, message="the worker listens")
    before = -1
    while line.round_trips != before:
        before = line.round_trips
        await _all_heard(worker, wakeup.tracker)
        await wait_for(lambda: not (pool._wake.is_set() or pool._serving or pool._flights))


async def _all_heard(worker: MultiWorker, tracker: Tracker) -> None:
    """Return when the tracker has got what Redis had for it: a message comes behind all of that."""
    heard, word = asyncio.Event(), uuid.uuid4().hex.encode()
    control = worker.store.keys.own("control").encode()
    hand_on = tracker._channels[control]

    def note(message: bytes) -> None:
        heard.set() if message == word else hand_on(message)

    tracker._channels[control] = note
    try:
        await worker.store.call("PUBLISH", control, word)
        await asyncio.wait_for(heard.wait(), PATIENCE_S)
    finally:
        tracker._channels[control] = hand_on


QUIET = tuple(event for event in EVENTS if event not in ("poll", "pause"))


def new_worker(
    url: str,
    jobs: Mapping[str, Any],
    queues: str = "*",
    *,
    slots: int = 1,
    redis: Mapping[str, Any] | None = None,
    clock: Clock = SYSTEM_CLOCK,
    **options: Any,
) -> MultiWorker:
    """A worker that is not started yet; `options` are those of `WorkerOptions`."""
    return MultiWorker(
        RedisOptions(url, **{**TIMEOUTS, **(redis or {})}),
        jobs,
        queues,
        WorkerOptions(**{"stop_timeout_s": 5.0, **options}),
        ScalingOptions(min_task_processors=slots, max_task_processors=slots),
        clock,
    )


@asynccontextmanager
async def working(
    url: str,
    jobs: Mapping[str, Any],
    queues: str = "*",
    *,
    events: tuple[str, ...] = QUIET,
    **options: Any,
) -> AsyncIterator[Working]:
    """A worker at work, that stops at the end."""
    made = Working(new_worker(url, jobs, queues, **options), events)
    async with made.worker:
        yield made
