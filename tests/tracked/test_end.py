"""The end of a task: nothing of it starts from then on, whatever brought its job to a worker."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy.base import codec
from resqpy.store.connection.client import Store
from resqpy.tracked import locks
from resqpy.tracked.active import ActiveTask
from resqpy.tracked.errors import TaskStateError
from resqpy.tracked.handle import TrackedTask
from resqpy.tracked.recovery import settle_due
from resqpy.tracked.verbs import Tracked
from tests.support.waiting import wait_for
from tests.tracked.support import KEYS, Listen, Workshop, known, promote, promoting, status_is
from tests.tracked.test_recovery import look

SOON_MS = 150


async def end_of(store: Store, after_ms: int = SOON_MS) -> int:
    """A time that comes soon, by Redis' clock."""
    return await store.time_us() // 1000 + after_ms


async def passed(store: Store, task: TrackedTask) -> None:
    """Return when the end of a task has passed."""
    end_ms = task.record.end_ms
    assert end_ms is not None

    async def is_over() -> bool:
        return await store.time_us() // 1000 >= end_ms

    await wait_for(is_over)


async def end_now(store: Store, redis: Redis, task: TrackedTask) -> None:
    """Let the end of a task be now, wherever it is."""
    await redis.hset(KEYS.task(task.id), "end", str(await end_of(store, 0)))


async def drained(redis: Redis, shop: Workshop) -> None:
    """Return when nothing waits, and nothing runs."""

    async def idle() -> bool:
        return not await redis.llen(KEYS.queue("mail")) and not shop.worker.pool.slots.busy

    await wait_for(idle)


class Runs:
    """A task that counts, and fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.count = 0
        self.failures = failures

    async def __call__(self, *_: Any) -> None:
        """Run."""
        self.count += 1
        if self.count <= self.failures:
            raise ValueError("boo")


async def test_while_it_is_queued(tracked: Tracked, store: Store, redis: Redis) -> None:
    """Its record says that it never ran, and why; its job is gone, and nothing is a failed job."""
    task = await tracked.create("mail", {}, queue="mail", end=await end_of(store))
    await passed(store, task)
    runs = Runs()
    async with Workshop(store, {"mail": runs}) as shop:
        after = await status_is(tracked, task.id, "failed")
        await drained(redis, shop)
        assert shop.errors == []
    assert runs.count == after.runs == 0
    assert after.error is not None
    assert after.error.name == "neverRuns"
    assert "had passed" in after.error.message
    assert after.completed_time is not None
    assert (after.next_run_time, after.last_run) == (None, None)
    assert not await redis.llen(KEYS.failed)


@pytest.mark.parametrize("foreign", [True, False], ids=["foreign scheduler", "ours"])
async def test_while_it_is_delayed(
    tracked: Tracked, store: Store, redis: Redis, foreign: bool
) -> None:
    """Whoever moves it to its queue, it does not run; our scheduler need not move it at all."""
    end = await end_of(store)
    task = await tracked.create("mail", {}, queue="mail", start=end - 1, end=end)
    await passed(store, task)
    if foreign:
        await wait_for(lambda: _promoted(redis))
    else:
        assert await settle_due(store) >= 1
        assert not await redis.zcard(KEYS.schedule) or not await _items(redis)
    runs = Runs()
    async with Workshop(store, {"mail": runs}) as shop:
        after = await status_is(tracked, task.id, "failed")
        await drained(redis, shop)
    assert runs.count == 0
    assert after.error is not None
    assert after.error.name == "neverRuns"


async def _promoted(redis: Any) -> bool:
    await promote(redis)
    return not await redis.zcard(KEYS.schedule)


async def _items(redis: Any) -> int:
    return sum([await redis.llen(key) async for key in redis.scan_iter(match=KEYS.delayed("*"))])


async def test_between_attempts(tracked: Tracked, store: Store, redis: Redis) -> None:
    """It has failed with the error of its attempt, and why that was the last; it is a failed job."""
    far = await end_of(store, 300_000)
    task = await tracked.create("mail", {}, queue="mail", end=far, retries=5, backoff=600)
    runs = Runs(failures=9)
    async with Workshop(store, {"mail": runs}):
        await wait_for(lambda: redis.zcard(KEYS.schedule))  # it has failed once
        await end_now(store, redis, task)
        async with promoting(redis, store, settles=False):
            after = await status_is(tracked, task.id, "failed")
    assert runs.count == 1
    assert (after.runs, after.next_run_time) == (1, None)
    assert after.error is not None
    assert after.error.name == "ValueError"
    assert after.error.message.startswith("boo (not retried")
    (entry,) = await redis.lrange(KEYS.failed, 0, -1)
    assert codec.decode_text(entry)["exception"] == "ValueError"


async def test_after_a_rescue(tracked: Tracked, store: Store, redis: Redis) -> None:
    """A task whose worker died before its end is not run again after it."""
    far = await end_of(store, 300_000)
    task = await tracked.create("mail", {}, queue="mail", end=far, lock_duration=100)
    assert (await locks.claim(store, task.id, "mail", "dead:1:mail#x")).ours
    await end_now(store, redis, task)
    await wait_for(lambda: _left(store, tracked, task))
    runs = Runs()
    async with Workshop(store, {"mail": runs}) as shop:
        after = await status_is(tracked, task.id, "failed")
        await drained(redis, shop)
    assert runs.count == 0
    assert after.error is not None
    assert after.error.name == "endPassed"
    assert await redis.llen(KEYS.failed) == 1  # nobody knows what that run did


async def _left(store: Store, tracked: Tracked, task: TrackedTask) -> bool:
    await look(store)
    return (await known(tracked, task.id)).status == "pending"


async def test_a_recurrence(tracked: Tracked, store: Store, redis: Redis, listen: Listen) -> None:
    """A run that waited in its queue beyond the end is left out; the task is what its runs were."""
    ran: list[int] = []

    async def handler(task: ActiveTask) -> None:
        ran.append(task.runs)
        listener.stop()

    far = await end_of(store, 300_000)
    listener = await listen("mail", handler)
    task = await tracked.create("mail", {}, queue="mail", interval=300, end=far)
    await wait_for(lambda: ran)
    await status_is(tracked, task.id, "scheduled")
    await end_now(store, redis, task)
    await wait_for(lambda: _promoted(redis))
    await listener.start()
    after = await status_is(tracked, task.id, "completed")
    assert ran == [0]
    assert (after.runs, after.next_run_time) == (1, None)


@pytest.mark.parametrize("linked", [False, True])
async def test_it_can_not_be_retried(tracked: Tracked, store: Store, linked: bool) -> None:
    """Who wants to run it now hears why not, whether it waits or has failed."""
    end = await end_of(store)
    task = await tracked.create("mail", {}, queue="mail", delay=SOON_MS - 1, end=end, linked=linked)
    await passed(store, task)
    with pytest.raises(TaskStateError, match="its end has passed"):
        await task.retry()
    await settle_due(store)
    with pytest.raises(TaskStateError, match="its end has passed"):
        await task.retry()


async def test_a_failed_entry_retried_after_the_end(
    tracked: Tracked, store: Store, redis: Redis
) -> None:
    """Not even who retries it in the failed list runs it again; it stays failed."""
    end = await end_of(store, 800)
    task = await tracked.create("mail", {}, queue="mail", end=end, retries=0)
    runs = Runs(failures=1)
    async with Workshop(store, {"mail": runs}) as shop:
        await status_is(tracked, task.id, "failed")
        await passed(store, task)
        (entry,) = await redis.lrange(KEYS.failed, 0, -1)
        await redis.delete(KEYS.failed)
        job = codec.encode_text(codec.decode_text(entry)["payload"])
        await redis.rpush(KEYS.queue("mail"), job)
        await drained(redis, shop)
    after = await known(tracked, task.id)
    assert (runs.count, after.status, after.runs) == (1, "failed", 1)
    assert after.error is not None
    assert after.error.name == "ValueError"


async def test_a_run_goes_on_over_its_end(tracked: Tracked, store: Store, listen: Listen) -> None:
    """What began before is not ended."""
    task = await tracked.create("mail", {}, queue="mail", end=await end_of(store, 300))

    async def handler(_: ActiveTask) -> None:
        await passed(store, task)

    await listen("mail", handler)
    after = await status_is(tracked, task.id, "completed")
    assert (after.runs, after.error) == (1, None)
