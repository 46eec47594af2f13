"""A leader that is killed at any point of a rescue loses nothing and doubles nothing."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from resqpy.store import workers
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions
from resqpy.store.exchange import Exchange, SlotRef
from tests.engine.test_rescue import worker_id
from tests.support.scheduler_process import SchedulerProcess
from tests.support.waiting import wait_for

EACH = 3  # workers of a process
FAST: dict[str, Any] = {"lease_s": 0.2, "timeout_s": 0.1, "rescue_after_s": 1.0}


class Dead:
    """Processes that die with jobs, some of which must not be repeated."""

    def __init__(self, url: str, redis: Any) -> None:
        self._store = Store(RedisOptions(url=url))
        self._redis = redis
        self.jobs: list[bytes] = []
        self.once: list[bytes] = []

    async def die(self, processes: int) -> None:
        """Let them take their jobs and never be heard of again."""
        exchange = Exchange(self._store)
        for _ in range(processes):
            incarnation = f"dead{len(self.jobs):04}"
            ids = [worker_id(n + 1, incarnation) for n in range(EACH)]
            new = [self._job(len(self.jobs) + n) for n in range(EACH)]
            await workers.register(self._store, incarnation, ids, "2026-11-21 00:00:00 +0000")
            await self._redis.rpush("resque:queue:mail", *new)
            places = [SlotRef.of(each) for each in ids]
            taken = (await exchange.run([], places, ["mail"], "2026-11-21T00:00:00Z")).taken
            assert len(taken) == EACH
            await self._mark(str(ids[0]), taken[0])
            await self._redis.zadd("resque:resqpy:processes", {incarnation: 1})
            self.jobs += new
        await exchange.close()

    @staticmethod
    def _job(number: int) -> bytes:
        text = "\xff" if number % 5 == 4 else "plain"  # those bytes stand beside the record
        return json.dumps({"class": "Echo", "args": [number, text]}, ensure_ascii=False).encode(
            "latin-1"
        )

    async def _mark(self, name: str, taken: Any) -> None:
        await workers.mark_at_most_once(self._store, name, taken.claim.beginning)
        self.once.append(taken.raw)

    async def close(self) -> None:
        """Close the connections."""
        await self._store.close()


async def rescued(redis: Any) -> bool:
    """Nobody dead is left."""
    keys = ("resque:resqpy:processes", "resque:workers")
    return bool(await redis.exists(*keys) == 0)


async def die_and_rescue(
    url: str, redis: Any, deaths: list[dict[str, int]], processes: int
) -> None:
    """Kill so many leaders while they rescue, let the last one finish, and count."""
    dead = Dead(url, redis)
    # what waits is taken by nobody, so all that is in the queue at the end was rescued
    await dead.die(processes)
    await dead.close()
    async with SchedulerProcess(url, deaths=deaths, **FAST) as process:
        await wait_for(lambda: process.count("died") == len(deaths), timeout=len(deaths) * 2 + 10)
        left = await redis.scard("resque:workers")
        await wait_for(lambda: rescued(redis), timeout=100)
    queued = await redis.lrange("resque:queue:mail", 0, -1)
    failed = await redis.llen("resque:failed")
    print(f"\n{len(deaths)} kills: {len(queued)} back, {failed} failed; {left} after the last kill")
    assert sorted(queued) == sorted(set(dead.jobs) - set(dead.once))
    assert failed == len(dead.once)
    assert await redis.hlen("resque:resqpy:rescues") == len(queued)
    assert await redis.keys("resque:worker:*") == []


async def test_killed_at_each_of_the_first_awaits(redis_url: str, redis: Any) -> None:
    """One leader after the other dies one await later than the one before."""
    await die_and_rescue(redis_url, redis, [{"step": step} for step in range(8, 40, 2)], 20)


@pytest.mark.full
@pytest.mark.timeout(600)
async def test_killed_at_each_await_hundreds_of_times(redis_url: str, redis: Any) -> None:
    """At every await that a rescue has, and at any moment."""
    seed = random.randrange(10**6)
    print(f"\nseed {seed}")
    chance = random.Random(seed)
    deaths = [{"step": chance.randint(1, 60)} for _ in range(170)]
    deaths += [{"ms": chance.randint(150, 300)} for _ in range(30)]  # last: they get far
    await die_and_rescue(redis_url, redis, deaths, 2000)
