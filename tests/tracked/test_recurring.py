"""Recurring tasks live: by an interval and by a cron expression, run after run, with one record."""

from __future__ import annotations

import itertools

from redis.asyncio import Redis

from resqpy.store.connection.client import Store
from resqpy.tracked.active import ActiveTask
from resqpy.tracked.verbs import Tracked
from tests.support.waiting import wait_for
from tests.tracked.support import KEYS, Listen, known, promoting


async def test_by_an_interval(tracked: Tracked, listen: Listen, redis: Redis, store: Store) -> None:
    """Each run is due an interval after the one before began; the record counts the runs."""
    due: list[int] = []
    starts: list[int] = []

    async def handler(task: ActiveTask) -> int:
        assert task.record.lock is not None
        due.append(task.record.next_run_ms or 0)
        starts.append(task.record.lock.since_ms)
        return task.runs

    await listen("often", handler)
    async with promoting(redis, store, settles=False):
        task = await tracked.create("often", queue="often", interval=200)
        await wait_for(lambda: len(starts) >= 4)
        waiting = await known(tracked, task.id)
        await task.remove()
    assert [after - before for before, after in zip(starts, due[1:], strict=False)] == [200] * (
        len(due) - 1
    )
    assert all(start >= at for start, at in zip(starts, due, strict=True))
    assert waiting.runs >= 3
    assert waiting.result == waiting.runs - 1
    assert waiting.last_run is not None
    assert waiting.last_run.succeeded


async def test_by_a_cron(tracked: Tracked, listen: Listen, redis: Redis, store: Store) -> None:
    """Each second, at its beginning; a run that fails ends nothing."""
    due: list[int] = []

    async def handler(task: ActiveTask) -> None:
        due.append(task.record.next_run_ms or 0)
        if len(due) == 2:
            raise ValueError("boo")

    await listen("often", handler)
    async with promoting(redis, store):
        task = await tracked.create("often", queue="often", interval="* * * * * *", retries=0)
        await wait_for(lambda: len(due) >= 4)
        await task.remove()
    assert [at % 1000 for at in due] == [0] * len(due)
    gaps = [after - before for before, after in itertools.pairwise(due)]
    assert min(gaps) >= 1000
    assert await redis.llen(KEYS.failed) == 1


async def test_no_run_after_the_end(
    tracked: Tracked, listen: Listen, redis: Redis, store: Store
) -> None:
    """The last run is the last before the end; the task is completed then."""
    runs: list[int] = []

    async def handler(task: ActiveTask) -> None:
        assert task.record.lock is not None
        runs.append(task.record.lock.since_ms)

    await listen("often", handler)
    end = tracked.clock.now_ms() + 1500
    async with promoting(redis, store):
        task = await tracked.create("often", queue="often", interval=300, end=end)

        async def over() -> bool:
            return (await known(tracked, task.id)).status.final

        await wait_for(over)
    done = await known(tracked, task.id)
    assert (done.status, done.next_run_time) == ("completed", None)
    assert done.runs == len(runs) >= 1
    assert max(runs) < end
