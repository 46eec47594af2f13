"""Delayed jobs that no index leads to are found in the end."""

from __future__ import annotations

import time
from typing import Any

from resqpy.engine.scheduler.foreign_care import Orphans
from resqpy.framework.api.scheduler import Scheduler
from tests.support.waiting import wait_for

ITEM = b'{"class":"A","queue":"q","args":[1]}'


async def test_lists_that_the_index_forgot_are_promoted(redis_url: str, redis: Any) -> None:
    """With a line in the log; one of a later time waits for it."""
    tomorrow = int(time.time()) + 86_400
    for second in ("1000", "abc", str(tomorrow)):
        await redis.rpush(f"resque:delayed:{second}", ITEM)
    await redis.hset("resque:delayed:last_enqueued_at", "job", "yesterday")
    scheduler = Scheduler(redis_url)
    scheduler.chores[2:] = [Orphans(scheduler.store, scheduler.emit, first_s=0, every_s=60)]
    errors: list[Exception] = []
    scheduler.on("error", errors.append)

    async with scheduler:
        await wait_for(lambda: redis.exists("resque:queue:q"))
        await wait_for(lambda: redis.zcard("resque:delayed_queue_schedule"))
        await wait_for(lambda: len(errors) == 4)  # "abc" is odd besides

    assert await redis.lrange("resque:queue:q", 0, -1) == [ITEM, ITEM]
    assert await redis.zrange("resque:delayed_queue_schedule", 0, -1) == [str(tomorrow).encode()]
    assert await redis.hlen("resque:delayed:last_enqueued_at") == 1


async def test_reverse_entries_that_lead_nowhere_are_dropped(redis_url: str, redis: Any) -> None:
    """Only where the second is over and has no list: others may be on their way."""
    tomorrow = int(time.time()) + 86_400
    await redis.sadd(b"resque:timestamps:" + ITEM, "delayed:1000", f"delayed:{tomorrow}")
    await redis.sadd("resque:timestamps:x", "delayed:1000")
    scheduler = Scheduler(redis_url)
    scheduler.chores[2:] = [Orphans(scheduler.store, scheduler.emit, first_s=0, every_s=60)]

    async with scheduler:
        await wait_for(lambda: _gone(redis))

    assert await redis.smembers(b"resque:timestamps:" + ITEM) == {f"delayed:{tomorrow}".encode()}


async def _gone(redis: Any) -> Any:
    return not await redis.exists("resque:timestamps:x")
