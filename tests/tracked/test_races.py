"""Leaders who don't know of each other, and workers, all at the same tasks at once: nothing is lost,
nothing doubled, each task ends as it must.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.errors import Deposed
from resqpy.engine.scheduler.election import Leadership
from resqpy.store.connection.client import RedisClock, Store
from resqpy.store.connection.options import RedisOptions
from resqpy.tracked import locks, records
from resqpy.tracked.recovery import TrackedChore
from resqpy.tracked.verbs import Tracked
from tests.support.scheduling import schedulers
from tests.support.waiting import wait_for
from tests.tracked.support import KEYS, Workshop, check_indexes, known
from tests.tracked.test_kill import Ends

LOCK_MS = 100
LOST_AFTER_MS = 40


async def test_a_leader_of_yesterday(tracked: Tracked, store: Store, redis: Redis) -> None:
    """Who leads no more settles no task of which he believes that its job is nowhere."""
    task = await tracked.create("lost", queue="lost", retries=1)
    await redis.delete(KEYS.queue("lost"))
    await asyncio.sleep(0.02)
    await redis.set("lease", "he/2")
    clock = RedisClock(SYSTEM_CLOCK)
    seconds, microseconds = await store.call("TIME")
    clock.now_us = lambda: int(seconds) * 10**6 + int(microseconds)  # type: ignore[method-assign]
    chore = TrackedChore(store, lost_after_ms=10)
    with pytest.raises(Deposed):
        await chore.run(Leadership(store, "she/1", ("lease",), clock))
    assert (await known(tracked, task.id)).attempts == 0
    assert await redis.llen(KEYS.queue("lost")) == 0
    await chore.run(Leadership(store, "he/2", ("lease",), clock))
    assert (await known(tracked, task.id)).attempts == 1
    assert await redis.llen(KEYS.queue("lost")) == 1


async def lead(url: str, over: asyncio.Event) -> None:
    """A leader that looks all the time."""
    store = Store(RedisOptions(url))
    chore = TrackedChore(store, LOST_AFTER_MS)
    while not over.is_set():
        seconds, microseconds = await store.call("TIME")
        await chore.look(int(seconds) * 10**6 + int(microseconds))
    await store.close()


class Trouble:
    """What goes wrong with some of the tasks: a dead worker took them, or their job vanished."""

    def __init__(self, store: Store, redis: Redis) -> None:
        self._store = store
        self._redis: Any = redis

    async def make(self, record: Any) -> None:
        """Perhaps nothing, perhaps one of both."""
        kind = random.randrange(3)
        if kind == 0:
            return
        taken = await self._redis.lrem(KEYS.queue(record.queue), 0, records.job_of(record))
        if taken and kind == 1:
            await locks.claim(self._store, record.id, "job", f"dead:1:x#{record.id}")


async def one_round(
    tracked: Tracked, redis: Redis, url: str, count: int
) -> tuple[Counter[str], Counter[tuple[str, str]]]:
    """Tasks of all kinds at once, three leaders, two workers; how they ended, and what was told."""
    await redis.flushdb()
    runs: Counter[str] = Counter()

    async def job(payload: dict[str, Any]) -> None:
        runs[payload["id"]] += 1
        await asyncio.sleep(random.choice((0, 0, 0.02)))
        if payload["how"] == "fail":
            raise ValueError("fails")

    over, store = asyncio.Event(), tracked.store
    trouble = Trouble(store, redis)
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("ok", {"retries": None, "backoff": 1}),
        ("ok", {"at_most_once": True}),
        ("fail", {"retries": 1, "backoff": 1}),
        ("gone", {"retries": None, "backoff": 1, "retain_for": 30}),
    ]
    made: dict[str, str] = {}
    async with Ends(redis) as ends, schedulers(url) as start:
        await start()  # it promotes what is due at a whole second; nobody else does
        leaders = [asyncio.create_task(lead(url, over)) for _ in range(3)]
        async with Workshop(store, {"job": job}, slots=5), Workshop(store, {"job": job}, slots=5):
            for n in range(count):
                how, options = kinds[n % len(kinds)]
                task_id = f"{how}{n}"
                more: Any = {**options, "id": task_id, "queue": "jobs", "lock_duration": LOCK_MS}
                task = await tracked.create("job", {"how": how, "id": task_id}, **more)
                made[task_id] = "once" if "at_most_once" in options else how
                await trouble.make(task.record)

            async def ended() -> bool:
                await ends.read()
                told = {i for i, kind in ends.count if kind in ("task_completed", "task_failed")}
                gone = {i for i, kind in ends.count if kind == "task_removed"}
                return told >= set(made) and gone >= {i for i in made if made[i] == "gone"}

            await wait_for(ended, 60.0, "all have ended")
        over.set()
        await asyncio.gather(*leaders)
        await asyncio.sleep(0.05)
        await ends.read()
    finals = Counter({key: n for key, n in ends.count.items() if key[1] in FINAL})
    assert set(finals.values()) == {1}, [key for key, n in finals.items() if n != 1]
    result: Counter[str] = Counter()
    for task_id, kind in made.items():
        last = await tracked.get(task_id)
        status = "gone" if last is None else str(last.status)
        result[f"{kind} {status}"] += 1
        assert kind != "once" or runs[task_id] <= 1
    await check_indexes(redis)
    return result, ends.count


FINAL = ("task_completed", "task_failed", "task_removed")


async def test_leaders_and_workers(tracked: Tracked, redis: Redis, redis_url: str) -> None:
    """Each task ends once, and as it must."""
    await rounds(tracked, redis, redis_url, times=1, count=60)


@pytest.mark.full
@pytest.mark.timeout(1800)
async def test_leaders_and_workers_at_length(
    tracked: Tracked, redis: Redis, redis_url: str
) -> None:
    """The same with thousands of tasks."""
    await rounds(tracked, redis, redis_url, times=20, count=200)


async def rounds(tracked: Tracked, redis: Redis, url: str, times: int, count: int) -> None:
    """Several rounds."""
    for _ in range(times):
        result, _ = await one_round(tracked, redis, url, count)
        assert set(result) <= {
            "ok completed", "once completed", "once failed", "fail failed", "gone gone"
        }, result  # fmt: skip
        assert await redis.zcard(KEYS.task_locks) == 0
