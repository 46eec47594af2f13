"""Clocks that are wrong: what a task is at, and when it runs again, goes by the clock of Redis."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from resqpy.base.clock import SystemClock
from resqpy.engine.definition import define
from resqpy.engine.plugin import Enqueuing, Plugin
from resqpy.store.connection.client import RedisClock, Store
from resqpy.tracked import locks
from resqpy.tracked.active import ActiveTask
from resqpy.tracked.errors import TaskStateError
from resqpy.tracked.handle import TrackedTask
from resqpy.tracked.verbs import Tracked
from tests.support.clocks import HOURS, WrongClock
from tests.tracked.support import KEYS, Listen, known, promoting, status_is


@pytest.fixture(params=[HOURS, -HOURS], ids=["fast", "slow"])
def wrong(request: pytest.FixtureRequest) -> WrongClock:
    """Both ways of being wrong."""
    return WrongClock(request.param)


async def test_a_worker(
    tracked: Tracked, store: Store, redis: Redis, listen: Listen, wrong: WrongClock
) -> None:
    """A worker with a wrong clock runs a task once though it saves, and tries again in time."""
    seen: list[tuple[str, int]] = []

    async def handler(task: ActiveTask) -> None:
        task.payload["attempt"] = task.attempts
        await task.save()
        seen.append((task.status, await redis.llen(KEYS.queue("a"))))
        if task.attempts == 0:
            raise ValueError("again")

    await listen("a", handler, clock=RedisClock(wrong))
    task = await tracked.create("a", queue="a", backoff=300)
    async with promoting(redis, store):
        after = await status_is(tracked, task.id, "completed")
    assert seen == [("running", 0)] * 2
    assert after.last_run is not None
    took = after.last_run.finish_time - task.create_time
    assert 0.3 <= took.total_seconds() < 9
    assert after.last_updated_time >= after.last_run.finish_time >= task.create_time


async def test_a_client(
    tracked: Tracked, store: Store, redis: Redis, listen: Listen, wrong: WrongClock
) -> None:
    """A client with a wrong clock sees and changes a running task as one that runs."""
    runs, over = 0, asyncio.Event()

    async def handler(_: ActiveTask) -> None:
        nonlocal runs
        runs += 1
        await over.wait()

    await listen("a", handler)
    elsewhere = Tracked(store, clock=wrong)
    task = await elsewhere.create("a", queue="a", lock_duration=20_000)
    await status_is(tracked, task.id, "running")
    there = await elsewhere.fetch(task.id)
    assert there.status == "running"
    assert [each.id async for each in elsewhere.iterate(status="running")] == [task.id]
    there.payload["n"] = 1
    await there.save()
    assert await redis.llen(KEYS.queue("a")) == 0
    await there.disable()
    assert (await known(tracked, task.id)).status == "disabling"
    await there.enable()
    with pytest.raises(TaskStateError, match="is running"):
        await there.cancel()
    over.set()
    await status_is(tracked, task.id, "completed")
    assert runs == 1


async def test_a_delay(tracked: Tracked, store: Store, wrong: WrongClock) -> None:
    """A delay counts from now by the clock of Redis, whoever creates the task."""
    elsewhere = Tracked(store, clock=wrong)
    before_us = await store.time_us()
    task = await elsewhere.create("a", delay=5_000)
    after_us = await store.time_us()
    assert before_us // 1000 <= (task.record.next_run_ms or 0) - 5_000 <= after_us // 1000 + 1
    assert before_us <= task.record.created_us <= after_us + 1000
    assert (await known(tracked, task.id)).status == task.status == "scheduled"


@pytest.mark.parametrize("verb", ["save", "enable", "disable", "cancel"])
async def test_a_run_left_alone(tracked: Tracked, redis: Redis, verb: str) -> None:
    """Whoever changes a task whose worker has died does not give it one more attempt."""
    task = await left_alone(tracked, redis)
    if verb == "cancel":
        with pytest.raises(TaskStateError, match="is failed"):
            await task.cancel()
    else:
        task.payload["n"] = 1
        await getattr(task, verb)()
    after = await known(tracked, task.id)
    assert after.status == "failed"
    assert after.error is not None
    assert after.error.name == "zombieTaskCleaned"
    assert await redis.llen(KEYS.queue("default")) == 0
    assert await redis.llen(KEYS.failed) == 1


async def left_alone(tracked: Tracked, redis: Redis) -> TrackedTask:
    """A task that may run once, and whose worker has died."""
    task = await tracked.create("a", at_most_once=True, lock_duration=100)
    claim = await locks.claim(tracked.store, task.id, "a", "dead#1")
    assert claim.ours
    await redis.delete(KEYS.queue("default"))
    await asyncio.sleep(0.15)
    return task


class Suspended(SystemClock):
    """A machine that slept: for it, less time has passed than for Redis."""

    slept_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() - self.slept_s


@pytest.mark.parametrize("slept_s", [7200, -7200], ids=["a sleep", "Redis' clock is set back"])
async def test_time_that_one_side_does_not_know(store: Store, redis: Redis, slept_s: float) -> None:
    """What Redis said of the time before is not believed: delays count from now, ends hold."""
    clock = Suspended()
    tracked = Tracked(store, clock=clock)
    old = await tracked.create("a", delay=60_000)
    clock.slept_s = slept_s
    before_us = await store.time_us()
    task = await tracked.create("a", {"n": 1}, delay=60_000)
    assert 59_900 <= (task.record.next_run_ms or 0) - before_us // 1000 < 80_000
    assert task.status == "scheduled"
    clock.slept_s = 0
    assert (await tracked.fetch(old.id)).status == "scheduled"
    clock.slept_s = slept_s
    await old.retry()
    assert old.status == "pending"
    assert abs((old.record.next_run_ms or 0) - await store.time_us() // 1000) < 20_000
    assert await redis.llen(KEYS.queue("default")) == 1


async def test_a_slow_hook(store: Store) -> None:
    """A delay counts from when the task is written, and it is asked once."""
    asked: list[str] = []

    class Slow(Plugin):
        async def before_enqueue(self, job: Enqueuing) -> bool:
            asked.append(job.class_name)
            await asyncio.sleep(1.2)
            return True

    task = define("a", print, plugins=[Slow])
    tracked = Tracked(store, definition_of=lambda _: task)
    before_us = await store.time_us()
    made = await tracked.create("a", delay=60_000)
    assert (made.record.next_run_ms or 0) - before_us // 1000 >= 61_100
    assert asked == ["a"]
    assert await tracked.count() == 1
