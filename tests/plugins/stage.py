"""A stage for plugins: a queue and a worker on the test's Redis, and what is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from resqpy import MultiWorker, Queue
from resqpy.engine.options import ScalingOptions
from tests.support.redis_state import dump
from tests.support.waiting import wait_for

EVENTS = ("success", "failure", "re_enqueue", "snoozed")
INFORMED = ("re_enqueue", "snoozed")
Events = list[tuple[str, Any]]


class Stage:
    """What a test has in its hands.

    Attributes:
        events: (name, the last but time: result, error or info) of each end.
    """

    def __init__(self, redis: Any, url: str, jobs: Mapping[str, Any]) -> None:
        self.redis = redis
        self.url = url
        self.queue = Queue(url, jobs)
        self.jobs = jobs
        self.events: Events = []

    @asynccontextmanager
    async def working(self, slots: int = 1) -> AsyncIterator[MultiWorker]:
        """A worker on queue `q` that stops at the end."""
        scaling = ScalingOptions(min_task_processors=slots, max_task_processors=slots)
        worker = MultiWorker(self.url, self.jobs, "q", scaling=scaling)
        for name in EVENTS:
            worker.on(name, self._heard(name))
        async with worker:
            yield worker

    def _heard(self, name: str) -> Any:
        def listener(*args: Any) -> None:
            self.events.append((name, args[-1] if name in INFORMED else args[-2]))

        return listener

    async def drain(self, slots: int = 1) -> None:
        """Work until the queue is empty and nothing runs, then stop."""
        async with self.working(slots):
            await self.until_idle()

    async def until_idle(self) -> None:
        """Wait until nothing is left to do."""
        await wait_until(self.idle)

    async def until_running(self, count: int) -> None:
        """Wait until no job waits in `q` and so many are on workers' records."""

        async def running() -> bool:
            return await self._state() == (0, count)

        await wait_until(running)

    async def idle(self) -> bool:
        """No job waits in `q` and none is on a worker's record."""
        return await self._state() == (0, 0)

    async def _state(self) -> tuple[int, int]:
        async with self.redis.pipeline(transaction=True) as pipe:
            pipe.llen("resque:queue:q")
            pipe.keys("resque:worker:*:q")
            waiting, records = await pipe.execute()
        return waiting, len(records)

    async def come_due(self) -> int:
        """Move all delayed jobs to their queues, as a scheduler would; how many there were."""
        items = []
        for second in await self.redis.zrange("resque:delayed_queue_schedule", 0, -1):
            items += await self.redis.lrange(f"resque:delayed:{int(second)}", 0, -1)
            await self.redis.delete(f"resque:delayed:{int(second)}")
        for item in items:
            await self.redis.delete(b"resque:timestamps:" + item)
            await self.redis.rpush("resque:queue:q", item)
        await self.redis.delete("resque:delayed_queue_schedule")
        return len(items)

    async def left(self) -> dict[str, Any]:
        """The whole of Redis."""
        return await dump(self.redis)


async def wait_until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition that asks Redis."""
    ask: Callable[[], Any] = condition
    await wait_for(ask)


class Gate:
    """A task that runs until it is let go."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.open = asyncio.Event()
        self.runs: list[list[Any]] = []

    async def __call__(self, *args: Any) -> str:
        """Wait at the gate."""
        self.runs.append(list(args))
        self.entered.set()
        await self.open.wait()
        return "through"
