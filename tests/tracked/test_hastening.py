"""Tasks that are due again within seconds run at their very time, not at the next whole second."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from redis.asyncio import Redis

from resqpy.base.when import ceil_second
from resqpy.store.connection.client import Store
from resqpy.tracked import records
from resqpy.tracked.active import ActiveTask
from resqpy.tracked.recovery import settle_due
from resqpy.tracked.verbs import Tracked
from tests.support.waiting import wait_for
from tests.tracked.support import KEYS, Listen, known, processed, promoting, status_is


async def places(redis: Any, tracked: Tracked, task_id: str) -> tuple[int, int, int]:
    """How often a task's job stands in its queue, its delayed list and the index of that."""
    record = (await known(tracked, task_id)).record
    job, second = records.job_of(record), ceil_second(record.next_run_ms or 0)
    queue = await redis.lrange(KEYS.queue(record.queue), 0, -1)
    delayed = await redis.lrange(KEYS.delayed(second), 0, -1)
    return queue.count(job), delayed.count(job), await redis.scard(KEYS.timestamps(job))


async def test_an_interval_below_a_second(
    tracked: Tracked, listen: Listen, redis: Redis, store: Store
) -> None:
    """A task runs every 150 ms, never earlier; by the delayed list alone it would be every second."""
    starts: list[tuple[int, int]] = []

    async def handler(task: ActiveTask) -> None:
        lock = task.record.lock
        assert lock is not None
        starts.append((lock.since_ms, task.record.next_run_ms or 0))

    await listen("often", handler)
    async with promoting(redis, store, settles=False):
        task = await tracked.create("often", queue="often", interval=150)
        await wait_for(lambda: len(starts) > 5)
    await task.remove()
    assert all(since >= due for since, due in starts)
    gaps = [after - before for (before, _), (after, _) in itertools.pairwise(starts)]
    assert min(gaps) >= 150
    assert sum(gaps[:5]) < 3500


async def test_a_retry_below_a_second(
    tracked: Tracked, listen: Listen, redis: Redis, store: Store
) -> None:
    """With a backoff of 30 ms, too; the job is moved, not copied."""
    starts: list[int] = []

    async def handler(task: ActiveTask) -> None:
        starts.append(tracked.clock.now_ms())
        if task.attempts < 5:
            raise ValueError("again")

    await listen("stubborn", handler)
    async with promoting(redis, store, settles=False):
        task = await tracked.create("stubborn", queue="stubborn", retries=5, backoff=30)
        done = await status_is(tracked, task.id, "completed")
    assert (done.runs, done.deliveries) == (1, 0)
    assert starts[-1] - starts[0] < 3500
    assert await places(redis, tracked, task.id) == (0, 0, 0)


async def test_a_worker_that_has_stopped(tracked: Tracked, listen: Listen, redis: Redis) -> None:
    """It moves nothing any more: the job waits for its second, and any scheduler promotes it."""

    async def handler(task: ActiveTask) -> None:
        await task.defer(400)

    listener = await listen("later", handler)
    task = await tracked.create("later", queue="later")
    await processed(listener)
    await listener.destroy()
    due_ms = (await known(tracked, task.id)).record.next_run_ms or 0
    await asyncio.sleep(0.5)
    if due_ms % 1000:
        assert await places(redis, tracked, task.id) == (0, 1, 1)


def soon(tracked: Tracked) -> int:
    """A whole second that does not come before a slow machine has prepared what is to come then."""
    return (tracked.clock.now_ms() + 700) // 1000 * 1000 + 1000


async def test_whoever_settles_moves_it(tracked: Tracked, store: Store, redis: Any) -> None:
    """The leader, and a query by status, move what is due; but not one of very many, not into what
    is no queue, and not what is due at a whole second: that is promotion's.
    """
    start = soon(tracked) + 500
    moved = await tracked.create("moved", queue="moved", start=start)
    crowd = await tracked.create("crowd", queue="crowd", start=start + 1)
    astray = await tracked.create("astray", queue="astray", start=start + 2)
    whole = await tracked.create("whole", queue="whole", start=start - 500)
    await redis.set(KEYS.queue("astray"), "no list")
    await asyncio.sleep((start + 20 - tracked.clock.now_ms()) / 1000)
    assert await settle_due(store) == 4
    second = start // 1000 + 1
    assert await places(redis, tracked, moved.id) == (1, 0, 0)
    assert await places(redis, tracked, crowd.id) == (1, 0, 0)
    assert await redis.lrange(KEYS.delayed(second), 0, -1) == [records.job_of(astray.record)]
    assert await places(redis, tracked, whole.id) == (0, 1, 1)
    statuses = [(await known(tracked, each.id)).status for each in (moved, crowd, astray, whole)]
    assert statuses == ["pending"] * 4


async def test_one_of_very_many(tracked: Tracked, store: Store, redis: Any) -> None:
    """To find one job among thousands costs Redis too much: they wait for their second."""
    start = soon(tracked) + 400
    task = await tracked.create("crowd", queue="crowd", start=start)
    await redis.rpush(KEYS.delayed(start // 1000 + 1), *range(501))
    await asyncio.sleep((start + 20 - tracked.clock.now_ms()) / 1000)
    await settle_due(store)
    assert await places(redis, tracked, task.id) == (0, 1, 1)
    assert (await known(tracked, task.id)).status == "pending"
