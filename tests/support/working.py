"""Workers in tests: started with a few words, with everything that they told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from resqpy import MultiWorker, ScalingOptions, WorkerOptions
from resqpy.store.connection.options import RedisOptions
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
    """

    def __init__(self, worker: MultiWorker, events: tuple[str, ...]) -> None:
        self.worker = worker
        self.told: list[tuple[str, tuple[Any, ...]]] = []
        for event in events:
            worker.on(event, self._listener(event))

    def _listener(self, event: str) -> Any:
        return lambda *args: self.told.append((event, args))

    def args(self, event: str) -> list[tuple[Any, ...]]:
        """The arguments of each such event."""
        return [args for name, args in self.told if name == event]

    @property
    def ended(self) -> int:
        """How many jobs succeeded or failed."""
        return len(self.args("success")) + len(self.args("failure"))

    @property
    def errors(self) -> str:
        """The words of all errors."""
        return "\n".join(str(args[0]) for args in self.args("error"))

    async def until_quiet(self) -> None:
        """Wait until it asks Redis for nothing more, not even for a job that is there."""
        line = self.worker.pool.reporting.exchange.line
        before = -1
        while line.round_trips != before or line._in_flight or line._waiting:
            before = line.round_trips
            await asyncio.sleep(0.05)

    async def until(self, count: int, timeout: float = PATIENCE_S) -> None:
        """Wait until so many jobs have ended."""
        await wait_for(lambda: self.ended >= count, timeout, f"{count} jobs ended")


QUIET = tuple(event for event in EVENTS if event not in ("poll", "pause"))


def new_worker(
    url: str,
    jobs: Mapping[str, Any],
    queues: str = "*",
    *,
    slots: int = 1,
    redis: Mapping[str, Any] | None = None,
    **options: Any,
) -> MultiWorker:
    """A worker that is not started yet; `options` are those of `WorkerOptions`."""
    return MultiWorker(
        RedisOptions(url, **{**TIMEOUTS, **(redis or {})}),
        jobs,
        queues,
        WorkerOptions(**{"stop_timeout_s": 5.0, **options}),
        ScalingOptions(min_task_processors=slots, max_task_processors=slots),
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
