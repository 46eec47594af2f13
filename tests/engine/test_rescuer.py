"""Jobs of dead processes come back where no scheduler runs: another worker process looks after them."""

from __future__ import annotations

import json
from typing import Any

from resqpy.store.client import Store
from resqpy.store.options import RedisOptions
from tests.engine.test_rescue import JOB, die_with
from tests.support.waiting import wait_for
from tests.support.working import working

OPTIONS: dict[str, Any] = {"heartbeat_s": 0.1, "rescue_after_s": 1.0}


async def test_a_worker_alone(redis_url: str, redis: Any) -> None:
    """It takes the job back and runs it; nothing of the dead process is left."""
    ran: list[Any] = []
    store = Store(RedisOptions(redis_url))
    try:
        await die_with(store, JOB)
    finally:
        await store.close()

    async with working(redis_url, {"Echo": lambda *args: ran.append(args)}, "mail", **OPTIONS):
        await wait_for(lambda: bool(ran))
        await wait_for(
            lambda: redis.zcard("resque:resqpy:processes"), message="one process is left"
        )
        living = [each.decode() for each in await redis.smembers("resque:workers")]

    assert ran == [tuple(json.loads(JOB)["args"])]
    assert [each for each in living if "abcd1234" in each] == []
    assert await redis.keys("resque:worker:*") == []


async def test_one_of_several(redis_url: str, redis: Any) -> None:
    """Three workers find the same jobs: each runs once."""
    ran: list[Any] = []
    jobs = {"Echo": lambda *args: ran.append(args)}
    store = Store(RedisOptions(redis_url))
    try:
        await die_with(store, *(b'{"class":"Echo","args":[%d]}' % n for n in range(6)))
    finally:
        await store.close()

    async with (
        working(redis_url, jobs, "mail", **OPTIONS),
        working(redis_url, jobs, "mail", **OPTIONS),
        working(redis_url, jobs, "mail", **OPTIONS),
    ):
        await wait_for(lambda: len(ran) >= 6)

    assert sorted(ran) == [(n,) for n in range(6)]
    assert await redis.llen("resque:queue:mail") == 0
