"""kill -9 of the worker at every step of a tracked run: no task is left running for ever, none is
lost, none completes twice.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Self

import pytest
from redis.asyncio import Redis

from resqpy.base import codec
from resqpy.engine.options import WorkerOptions
from resqpy.framework.api.scheduler import Scheduler
from resqpy.framework.config.sections import SchedulerOptions
from resqpy.store.connection.client import Store
from resqpy.tracked.creating import CreateOptions
from resqpy.tracked.delivery import definition_of
from resqpy.tracked.handle import TrackedTask
from resqpy.tracked.verbs import Tracked
from tests.support.waiting import wait_for
from tests.tracked import victim
from tests.tracked.support import KEYS, Workshop, check_indexes

LOCK_MS = 300
MODES = (
    "implicit", "explicit", "retry", "said retry", "linked", "again", "defer", "release", "fail",
    "delete", "slow", "cancel", "once", "create",
)  # fmt: skip
CREATED = "created-by-the-victim"

Others = Callable[[Store], AbstractAsyncContextManager[None]]


async def killed(url: str, step: int, create: str = "") -> bool:
    """Run a victim; whether it was killed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.tracked.victim", url, str(step), create,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, errors = await process.communicate()
    assert process.returncode in (0, -9), errors.decode()
    return process.returncode == -9


@asynccontextmanager
async def survivors(store: Store) -> AsyncIterator[None]:
    """A scheduler that soon takes a silent worker for dead, and a worker that lives."""
    options = SchedulerOptions(
        timeout_s=0.1, lease_s=1.0, rescue_after_s=1.5, task_lost_after_ms=1000
    )
    beats = WorkerOptions(heartbeat_s=0.1)
    definition = definition_of("job", victim.handler)
    async with (
        Scheduler(store, {}, options),
        Workshop(store, {"job": definition}, slots=2, queues=victim.QUEUE, options=beats),
    ):
        yield


@asynccontextmanager
async def a_worker_alone(store: Store) -> AsyncIterator[None]:
    """A worker that soon takes a silent one for dead; no scheduler."""
    options = WorkerOptions(heartbeat_s=0.2, rescue_after_s=0.6)
    definition = definition_of("job", victim.handler)
    async with Workshop(store, {"job": definition}, queues=victim.QUEUE, options=options):
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


async def make(tracked: Tracked, mode: str) -> str:
    """The task that the victim runs; its id."""
    if mode == "create":
        return CREATED
    options: CreateOptions = {"queue": victim.QUEUE, "lock_duration": LOCK_MS}
    if mode == "once":
        options |= {"at_most_once": True}
    elif mode == "slow":
        options |= {"retries": None, "backoff": 1, "lock_duration": 2 * LOCK_MS}
    else:
        options |= {"retries": 5, "backoff": 1, "linked": mode == "linked"}
    return (await tracked.create("job", {"how": mode}, **options)).id


async def last_of(tracked: Tracked, task_id: str) -> TrackedTask | None:
    """The task, or the one that has taken over from it."""
    task = await tracked.get(task_id)
    while task is not None and task.record.retried_by is not None:
        task = await tracked.get(task.record.retried_by)
    return task


async def one_kill(
    tracked: Tracked, redis: Redis, url: str, mode: str, step: int, others: Others = survivors
) -> bool:
    """Kill a worker at a step of a run, let the others see to it; whether it was killed."""
    await redis.flushdb()
    task_id = await make(tracked, mode)
    async with Ends(redis) as ends:
        died = await killed(url, step, CREATED if mode == "create" else "")
        async with others(tracked.store):

            async def over() -> bool:
                now = await last_of(tracked, task_id)
                return now is None if mode == "delete" else now is None or now.status.final

            await wait_for(over, 60.0, f"{mode} at step {step} is over")
        await ends.read()
    await check(tracked, redis, mode, task_id, ends.count)
    assert await redis.zcard(KEYS.task_locks) == 0
    await check_indexes(redis)
    return died


async def check(
    tracked: Tracked, redis: Redis, mode: str, task_id: str, told: Counter[tuple[str, str]]
) -> None:
    """What a task must have come to, whenever its worker was killed."""
    client: Any = redis
    starts = Counter(await client.lrange(victim.STARTED, 0, -1))
    events = Counter(kind for _, kind in told.elements())
    failed = await redis.llen(KEYS.failed)
    if mode == "delete":
        assert events["task_removed"] == 1
        return
    last = await last_of(tracked, task_id)
    if last is None:  # it was killed before it had created the task
        assert mode == "create"
        assert not starts
        return
    error = None if last.error is None else last.error.name
    if mode == "once":
        assert max(starts.values(), default=0) <= 1
    if mode in ("fail", "cancel") or (mode == "once" and last.status == "failed"):
        expected = {"fail": "ValueError", "cancel": "JobCancelled", "once": "zombieTaskCleaned"}
        assert (last.status, error, failed) == ("failed", expected[mode], 1)
        assert events["task_failed"] == 1
    else:
        assert (last.status, error, failed) == ("completed", None, 0)
        assert last.runs == (2 if mode == "again" else 1)
        assert events["task_completed"] == 1


@pytest.mark.promise("killed", "tracked", "tracked at most once")
@pytest.mark.parametrize(
    ("mode", "steps"), [("implicit", (1, 3)), ("explicit", (7,)), ("once", (5,))]
)
async def test_killed(
    tracked: Tracked, redis: Redis, redis_url: str, mode: str, steps: tuple[int, ...]
) -> None:
    """A few kills, at steps in the middle of a run."""
    for step in steps:
        await one_kill(tracked, redis, redis_url, mode, step)


@pytest.mark.promise("no scheduler", "tracked", "tracked at most once")
@pytest.mark.parametrize(("mode", "step"), [("implicit", 3), ("explicit", 7), ("once", 5)])
async def test_killed_where_no_scheduler_runs(
    tracked: Tracked, redis: Redis, redis_url: str, mode: str, step: int
) -> None:
    """Another worker process takes the job back, and settles the record as it takes the job again."""
    assert await one_kill(tracked, redis, redis_url, mode, step, a_worker_alone)


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mode", MODES)
async def test_killed_everywhere(tracked: Tracked, redis: Redis, redis_url: str, mode: str) -> None:
    """At every step there is, three times."""
    for _ in range(3):
        step = 0
        while await one_kill(tracked, redis, redis_url, mode, step):
            step += 1
        assert step > 4
