"""Jobs of dead processes come back where no scheduler runs: another worker process looks after them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from resqpy import Limit
from resqpy.base import job_records
from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.model import WorkerId
from resqpy.engine.options import WorkerOptions
from resqpy.engine.scheduler.rescue import RescueChore
from resqpy.engine.worker.wakeup import Rescuer
from resqpy.store import workers
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions
from tests.engine.test_rescue import JOB, die_with, the_entry, worker_id
from tests.support.waiting import wait_for
from tests.support.working import working

OPTIONS: dict[str, Any] = {"heartbeat_s": 0.1, "rescue_after_s": 1.0}


async def one_process(redis: Any) -> bool:
    """Whether the dead one is forgotten, and the living one is not."""
    return int(await redis.zcard("resque:resqpy:processes")) == 1


@pytest.mark.promise("no scheduler", "plain")
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
        await wait_for(lambda: one_process(redis), message="one process is left")
        living = [each.decode() for each in await redis.smembers("resque:workers")]

    assert ran == [tuple(json.loads(JOB)["args"])]
    assert [each for each in living if "abcd1234" in each] == []
    assert await redis.keys("resque:worker:*") == []


@pytest.mark.parametrize("removed", [False, True])
async def test_a_beat_sees_the_dead(redis_url: str, redis: Any, *, removed: bool) -> None:
    """Though records were searched for just now; also one whose process an older leader removed."""
    store = Store(RedisOptions(redis_url))
    try:
        await die_with(store, JOB)
        await redis.hset("resque:workers:heartbeat", str(worker_id(1)), "2026-11-21T00:00:00+00:00")
        await redis.hset("resque:resqpy:lives", "abcd1234", "{}")
    finally:
        await store.close()
    if removed:
        await redis.delete("resque:resqpy:processes")
    await redis.set("resque:resqpy:searched", "1")

    async with working(redis_url, {"Echo": lambda *_: None}, "mail", **OPTIONS) as work:
        await work.until(1)
        await wait_for(lambda: one_process(redis), message="one process is left")

    assert await redis.get("resque:resqpy:searched") == b"1"  # no search was needed


async def test_a_beat_sees_what_is_parked_for_nothing(redis_url: str, redis: Any) -> None:
    """Jobs that wait for a limit that was removed go back to their queue."""
    jobs = {"Echo": {"perform": lambda *_: None, "limit": Limit(0)}}
    await redis.set("resque:resqpy:searched", "1")
    async with working(redis_url, jobs, "mail", **OPTIONS):
        await redis.sadd("resque:queues", "mail")
        await redis.rpush("resque:queue:mail", JOB)
        await wait_for(lambda: has(redis, "resque:resqpy:limits:parked"))
    await redis.delete("resque:resqpy:rescuer", "resque:resqpy:limits")

    async with working(redis_url, {"Echo": lambda *_: None}, "mail", **OPTIONS) as work:
        await work.until(1)


async def test_unlisted_records_are_searched_for_after_redis_was_away(
    redis_url: str, redis: Any
) -> None:
    """Though its data say that this was just done: they may be older ones."""
    ran: list[Any] = []
    lost = WorkerId("host+3-abcd1234", "1", "mail")
    record = job_records.work_prefix("mail", "2026-11-21T00:00:00.000000Z") + JOB
    async with working(redis_url, {"Echo": lambda *args: ran.append(args)}, "mail", **OPTIONS):
        await redis.set("resque:resqpy:searched", "1")
        await redis.set(f"resque:worker:{lost}", record + job_records.work_suffix(lost.name))
        assert await redis.client_kill_filter(_type="pubsub") > 0
        await wait_for(lambda: bool(ran), message="the job is taken back")

    assert ran == [tuple(json.loads(JOB)["args"])]


async def has(redis: Any, name: str) -> bool:
    """Whether there is such a key."""
    return bool(await redis.exists(name))


@pytest.mark.promise("no scheduler", "at most once")
async def test_what_may_begin_once_fails(redis_url: str, redis: Any) -> None:
    """It had begun: it goes to the failed list, and is not run."""
    ran: list[Any] = []
    store = Store(RedisOptions(redis_url))
    try:
        (taken,) = await die_with(store, JOB)
        await workers.mark_at_most_once(store, str(worker_id(1)), taken.claim.beginning)
    finally:
        await store.close()

    async with working(redis_url, {"Echo": lambda *args: ran.append(args)}, "mail", **OPTIONS):
        await wait_for(lambda: one_process(redis), message="one process is left")

    failed = job_records.decode_failed(await the_entry(redis))
    assert (failed.exception, failed.job_raw, failed.queue) == ("WorkerDied", JOB, "mail")
    assert ran == []
    assert await redis.llen("resque:queue:mail") == 0


@pytest.mark.promise("no scheduler", "locked")
async def test_locks_are_freed(redis_url: str, redis: Any) -> None:
    """A JobLock that the dead worker held."""
    store = Store(RedisOptions(redis_url))
    try:
        await die_with(store, JOB)
    finally:
        await store.close()
    await redis.hset(f"resque:resqpy:job_locks:{worker_id(1)}", "resque:workerslock:a", "1")
    await redis.set("resque:workerslock:a", "1")

    async with working(redis_url, {"Echo": lambda *_: None}, "mail", **OPTIONS) as work:
        await work.until(1)

    assert await redis.keys("resque:workerslock*") == []


class Nobody:
    """Whom nothing is told."""

    def tell(self, *_: Any) -> None: ...

    def has_listeners(self, _event: str) -> bool:
        return False


@pytest.mark.parametrize(
    ("leader", "earlier", "comes_back"),
    [
        ("host+scheduler-abcd1234:7/1", False, True),
        ("host+scheduler-abcd1234:7/1", True, False),
        ("host+scheduler-abcd1234:7:2/1", False, False),
        ("host+scheduler-abcd1234:7:2/1", True, False),
    ],
)
async def test_beside_a_leader(
    redis_url: str, redis: Any, leader: str, *, earlier: bool, comes_back: bool
) -> None:
    """It does what a leader of an older version can't, and nothing else."""
    store = Store(RedisOptions(redis_url))
    mine = WorkerId("host+1-abcd1234", "1", "mail") if earlier else worker_id(1)
    await redis.set("resque:resqpy:leader", leader)
    try:
        await die_with(store, JOB, ids=[mine])
        await Rescuer(store, WorkerOptions(), Nobody(), "me", SYSTEM_CLOCK)._round()
    finally:
        await store.close()

    assert await redis.llen("resque:queue:mail") == comes_back
    assert await redis.exists(f"resque:worker:{mine}") != comes_back
    assert bool(await redis.zcard("resque:resqpy:processes")) != comes_back


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


async def test_the_lease_of_one_that_is_killed_holds_up_no_other(
    redis_url: str, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends by itself when its holder counts as dead, though a round was under way."""
    within, lasts = asyncio.Event(), asyncio.Event()

    async def run(*_: Any) -> float:
        within.set()
        await lasts.wait()
        return 1.0

    monkeypatch.setattr(RescueChore, "run", run)
    async with working(redis_url, {}, "mail", heartbeat_s=0.1, rescue_after_s=20.0):
        await asyncio.wait_for(within.wait(), 60)
        assert 0 < await redis.pttl("resque:resqpy:rescuer") <= 20_000
        lasts.set()
