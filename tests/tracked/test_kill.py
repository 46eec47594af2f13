"""kill -9 of the worker at every step of a tracked run: no task is left running for ever, none is
lost, none completes twice.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import pytest
from redis.asyncio import Redis

from resqpy.base import codec
from resqpy.engine.scheduler import Scheduler
from resqpy.engine.scheduler_options import SchedulerOptions
from resqpy.engine.tracked.creating import CreateOptions
from resqpy.engine.tracked.tracked import Tracked
from resqpy.framework.listener import definition_of
from resqpy.store.client import Store
from tests.support.waiting import wait_for
from tests.tracked import victim
from tests.tracked.support import KEYS, Workshop, known

LOCK_MS = 300
MODES = ("implicit", "explicit", "retry", "again", "once")


async def killed(url: str, step: int) -> bool:
    """Run a victim; whether it was killed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.tracked.victim", url, str(step),
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, errors = await process.communicate()
    assert process.returncode in (0, -9), errors.decode()
    return process.returncode == -9


@asynccontextmanager
async def survivors(store: Store) -> AsyncIterator[None]:
    """A scheduler that soon takes a silent worker for dead, and a worker that lives."""
    options = SchedulerOptions(
        timeout_s=0.1, lease_s=1.0, rescue_after_s=0.6, task_lost_after_ms=1000
    )
    definition = definition_of("job", victim.handler)
    async with (
        Scheduler(store, {}, options),
        Workshop(store, {"job": definition}, slots=2, queues=victim.QUEUE),
    ):
        yield


class Ends:
    """Counts the ends that are told of each task."""

    def __init__(self, redis: Redis) -> None:
        self._pubsub: Any = redis.pubsub()
        self.count: Counter[tuple[str, str]] = Counter()

    async def __aenter__(self) -> Self:
        await self._pubsub.subscribe(KEYS.events)
        await self._pubsub.get_message(timeout=2)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pubsub.aclose()

    async def read(self) -> None:
        """Take in what was told."""
        while (message := await self._pubsub.get_message(timeout=0.05)) is not None:
            event = codec.decode_text(message["data"])
            self.count[event["content"]["id"], event["type"]] += 1


async def one_kill(tracked: Tracked, redis: Redis, url: str, mode: str, step: int) -> bool:
    """Kill a worker at a step of a run, let the others see to it; whether it was killed."""
    await redis.delete(victim.STARTED)
    once = mode == "once"
    options: CreateOptions = {"queue": victim.QUEUE, "lock_duration": LOCK_MS}
    options |= {"at_most_once": True} if once else {"retries": 5, "backoff": 1}
    task = await tracked.create("job", {"how": mode}, **options)
    async with Ends(redis) as ends:
        died = await killed(url, step)
        async with survivors(tracked.store):

            async def over() -> bool:
                now = await tracked.get(task.id)
                return now is not None and now.status.final

            await wait_for(over, 15.0, f"{mode} at step {step} is over")
        await ends.read()
    after = await known(tracked, task.id)
    client: Any = redis
    starts = await client.lrange(victim.STARTED, 0, -1)
    runs = 2 if mode == "again" else 1
    if once and after.status == "failed":
        assert after.error is not None
        assert after.error.name in ("zombieTaskCleaned", "WorkerDied")
    else:
        assert (after.status, after.runs) == ("completed", runs), after.error
        assert ends.count[task.id, "task_completed"] == 1
    if once:
        assert len(starts) <= 1
    assert await redis.zcard(KEYS.task_locks) == 0
    return died


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("mode", "steps"), [("implicit", (3, 6)), ("explicit", (7,)), ("once", (5,))]
)
async def test_killed(
    tracked: Tracked, redis: Redis, redis_url: str, mode: str, steps: tuple[int, ...]
) -> None:
    """A few kills, at steps in the middle of a run."""
    for step in steps:
        await one_kill(tracked, redis, redis_url, mode, step)


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mode", MODES)
async def test_killed_everywhere(tracked: Tracked, redis: Redis, redis_url: str, mode: str) -> None:
    """At every step there is, three times."""
    for _ in range(3):
        step = 0
        while await one_kill(tracked, redis, redis_url, mode, step):
            step += 1
        assert step > 6
