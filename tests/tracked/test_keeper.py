"""The keeper of locks, where the process has no thread for it."""

from __future__ import annotations

import asyncio
from typing import Any

from redis.asyncio import Redis

from resqpy.store.connection.client import Store
from resqpy.tracked.verbs import Tracked
from tests.support.starving import no_more_threads
from tests.support.waiting import wait_for
from tests.tracked.support import Workshop


async def test_the_keeper_comes_back(tracked: Tracked, store: Store, redis: Redis) -> None:
    """Locks are renewed as soon as there can be a thread for it, though nothing new begins."""
    go = asyncio.Event()
    begun = asyncio.Event()

    async def job(_: Any) -> None:
        begun.set()
        await go.wait()

    async with Workshop(store, {"job": job}, queues="jobs") as shop:
        with no_more_threads():
            await tracked.create("job", queue="jobs", lock_duration=9000)
            await begun.wait()
        [lock] = shop.keeper._locks.values()
        until_s = lock.until_s
        await wait_for(lambda: lock.until_s > until_s)
        go.set()
        await wait_for(lambda: not shop.worker.pool.slots.busy)
    assert await tracked.count(status="completed") == 1
