"""Very many task processors in one process."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from resqpy import Queue
from resqpy.engine.worker import heartbeat
from tests.support.working import working

COUNT = 9000  # twice as many as Lua unpacks at once


@pytest.mark.parametrize("count", [1, 999, 1000, 1001, COUNT])
async def test_all_of_them_beat_and_leave(redis_url: str, redis: Any, count: int) -> None:
    """They are registered, seen, work, and are gone after the stop."""

    async def task() -> None:
        await asyncio.sleep(0)

    async with (
        Queue(redis_url) as queue,
        working(redis_url, {"t": task}, "q", slots=count, heartbeat_s=3600) as work,
    ):
        assert await redis.scard("resque:workers") == count
        assert await redis.hlen("resque:workers:heartbeat") == count
        await queue.enqueue_many([("q", "t", [])] * 10)
        await work.until(10)

        await redis.delete("resque:workers", "resque:workers:heartbeat")
        vitals = work.worker._wakeup._vitals()  # type: ignore[union-attr]  # it is started
        beat = await heartbeat.beat(work.worker.store, vitals)
        assert beat.registered == count
        assert await redis.scard("resque:workers") == count
        assert await redis.hlen("resque:workers:heartbeat") == count
    assert not await redis.keys("resque:worker*")
