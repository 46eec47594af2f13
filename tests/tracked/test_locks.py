"""Locks of tasks that run: renewed together, by a thread, and of no more worth than Redis says."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy.store.connection.client import Store
from resqpy.tracked import locks
from resqpy.tracked.active import ActiveTask
from resqpy.tracked.delivery import definition_of
from resqpy.tracked.locks import Held, LockState
from resqpy.tracked.verbs import Tracked
from tests.support.clocks import SteppedClock
from tests.support.waiting import wait_for
from tests.tracked import victim
from tests.tracked.support import KEYS, Workshop, known, status_is
from tests.tracked.test_kill import survivors


async def test_one_batch_for_all_that_run(
    tracked: Tracked, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """200 tasks that run in a process are renewed in one round trip, at two thirds of their lock."""
    batches: list[Sequence[Held]] = []
    renew = locks.renew

    async def note(store: Store, held: Sequence[Held]) -> list[LockState]:
        batches.append(held)
        return await renew(store, held)

    monkeypatch.setattr(locks, "renew", note)
    go, running = asyncio.Event(), 0

    async def job(_: Any) -> None:
        nonlocal running
        running += 1
        await go.wait()

    await asyncio.gather(
        *(tracked.create("job", queue="jobs", lock_duration=300_000) for _ in range(200))
    )
    shop = Workshop(store, {"job": job}, slots=200, queues="jobs")
    keeper, clock = shop.keeper, SteppedClock()
    keeper._clock = clock  # whenever the tasks begin, their locks are due at one time
    async with shop:
        await wait_for(lambda: running == 200)
        assert batches == []
        clock.pass_by(250)
        assert keeper._helper is not None
        keeper._wake(keeper._helper)
        await wait_for(lambda: batches)
        go.set()
        await wait_for(lambda: not shop.worker.pool.slots.busy)
    [held] = batches
    assert {each.lasts_ms for each in held} == {300_000}
    assert len({each.task_id for each in held}) == 200
    assert await tracked.count(status="completed") == 200


async def test_a_blocked_loop_keeps_its_lock(tracked: Tracked, store: Store) -> None:
    """A handler that blocks the event loop for longer than its lock lasts has it all the same."""
    task = await tracked.create("job", queue="jobs", lock_duration=3000)

    async def job(_: Any) -> str:
        time.sleep(3.5)  # noqa: ASYNC251 - that is what is tested
        return "done"

    async with Workshop(store, {"job": job}, queues="jobs"):
        after = await status_is(tracked, task.id, "completed")
    assert (after.result, after.runs, after.record.deliveries) == ("done", 1, 0)


async def test_redis_away_for_longer_than_a_lock(
    tracked: Tracked, store: Store, redis: Redis
) -> None:
    """The handler is told that its lock is lost, by its own clock; the task runs again, and once."""
    task = await tracked.create("job", queue="jobs", lock_duration=1000, backoff=1)
    lost: list[bool] = []

    async def job(active: ActiveTask) -> str:
        if active.deliveries:
            return "again"
        told = asyncio.Event()
        active.once("lock_lost", told.set)
        await store.call("CLIENT", "PAUSE", 1800, "ALL")
        await told.wait()
        lost.append(active.locked)
        return "zombie"

    async with (
        survivors(store),
        Workshop(store, {"job": definition_of("job", job)}, queues="jobs"),
    ):
        after = await status_is(tracked, task.id, "completed")
    assert lost == [False]
    assert (after.result, after.runs) == ("again", 1)
    assert await redis.llen(KEYS.failed) == 0


async def test_a_frozen_worker_that_wakes(
    tracked: Tracked, store: Store, redis: Redis, redis_url: str
) -> None:
    """A worker that was stopped for longer than its lock lasts changes nothing when it goes on."""
    client: Any = redis
    task = await tracked.create(
        "job", {"how": "slow"}, queue=victim.QUEUE, lock_duration=4000, retries=None, backoff=1
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.tracked.victim", redis_url, "-1", ""
    )
    try:
        await wait_for(lambda: client.llen(victim.STARTED))
        os.kill(process.pid, signal.SIGSTOP)
        async with survivors(store):
            after = await status_is(tracked, task.id, "completed")
        os.kill(process.pid, signal.SIGCONT)
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()  # else it is frozen for ever
            await process.wait()
    woken = await known(tracked, task.id)
    assert (woken.record, woken.runs) == (after.record, 1)
    assert await client.llen(victim.STARTED) >= 2
    assert await redis.llen(KEYS.failed) == 0
