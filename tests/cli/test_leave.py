"""`resqpy leave`: jobs that only resqpy finds are put back; what others don't obey, and what is left, is told."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from resqpy.base.model import WorkerId
from resqpy.cli.output.printing import Exit
from resqpy.diagnosis.leaving import KINDS
from resqpy.store import workers
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions
from resqpy.store.exchange import Exchange, SlotRef
from tests.cli.conftest import Call, Program
from tests.cli.processes import registered
from tests.support.redis_state import dump
from tests.support.source import PACKAGE

INCARNATION = "abcd1234"
MINE = WorkerId("host+resqpy", f"1-1-{INCARNATION}", "mail")


def job(n: int, queue: str = "mail", more: str = "") -> bytes:
    """A job."""
    return f'{{"class":"Echo","queue":"{queue}",{more}"args":[{n}]}}'.encode()


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Store]:
    """The test's Redis."""
    store = Store(RedisOptions(redis_url))
    yield store
    await store.close()


async def died_with(store: Store, raw: bytes, silent_s: float = 100) -> None:
    """A process took a job, and was killed."""
    life = b'{"host":"host","pid":1,"queues":"mail"}'
    await workers.register(store, INCARNATION, [MINE], "2026-11-21 00:00:00 +0000", life=life)
    await store.call("RPUSH", "resque:queue:mail", raw)
    exchange = Exchange(store)
    await exchange.run([], [SlotRef.of(MINE)], ["mail"], "2026-11-21T00:00:00.000001Z")
    await exchange.close()
    await store.call("ZINCRBY", store.keys.processes, -silent_s, INCARNATION)


async def park(store: Store, raw: bytes) -> None:
    """A job waits for a limit."""
    keys = store.keys  # first the limit: a leader puts back what is parked without one
    await store.call("HSET", keys.running_limits, "{task}Echo", "pay\t", "{limit}pay", 1)
    await store.call("ZADD", keys.parked, 1, "pay\nmail")
    await store.call("RPUSH", keys.parked_jobs("pay", "mail"), raw)


async def test_all_jobs_are_put_back(store: Store, redis: Redis, resqpy: Call) -> None:
    """In their order, with their bytes; a dry run shows the same and changes nothing."""
    await died_with(store, job(1))
    await park(store, job(2))
    await redis.rpush("resque:queue:mail", job(3), job(4, more='"resqpy_expires":1,'))
    await redis.rpush("resque:resqpy:claimed", b"1796016480:" + job(5))
    before = await dump(redis)
    tried = await asyncio.to_thread(resqpy, "leave", "--dry-run", "--json")
    assert (tried.code, await dump(redis)) == (Exit.OK, before)
    done = await asyncio.to_thread(resqpy, "leave", "--yes", "--json")
    again = await asyncio.to_thread(resqpy, "leave", "--yes", "--json")

    jobs = {"parked": 1, "claimed": 1, "lost": 1}
    assert (tried.json["put_back"], tried.json["left"]["jobs"]) == (dict.fromkeys(jobs, 0), jobs)
    assert (done.code, done.json["put_back"]) == (Exit.OK, jobs)
    assert done.json["left"]["jobs"] == again.json["put_back"] == dict.fromkeys(jobs, 0)
    assert done.json["errors"] == []
    raws = await redis.lrange("resque:queue:mail", 0, -1)
    assert [json.loads(each)["args"][0] for each in raws] == [1, 2, 3, 4, 5]
    assert await redis.smembers("resque:workers") == set()
    assert not await redis.exists("resque:resqpy:leader", "resque:resque_scheduler_leader_lock")


async def test_what_others_do_not_obey(store: Store, redis: Redis, resqpy: Call) -> None:
    """Each is named, with what happens instead; and the keys, by what they are for."""
    await park(store, job(1))
    await redis.set("resque:pause:queue:mail", "true")
    await redis.sadd("resque:queues", "mail", "bulk")
    await redis.hset("resque:resqpy:limits", "bulk", "3")
    task = '{"queue":"q","args":[{}],"frequency":60000}'
    await redis.hset("resque:resqpy:periodic:tasks", "tick", task)
    await redis.zadd("resque:resqpy:tasks:by:status:scheduled", {"a": 1, "b": 2})
    await redis.rpush("resque:queue:mail", job(2, more='"resqpy_deadline":1,'))
    await redis.rpush("resque:delayed:1893456000", job(3, more='"resqpy_expires":1,'))
    await redis.zadd("resque:delayed_queue_schedule", {"1893456000": 1893456000})
    await redis.hset(
        "resque:persistent_schedules", "daily", '{"every":"1d","class":"X","queue":"q"}'
    )
    await redis.sadd("resque:resqpy:ruby:paused", "daily", "gone")
    await redis.set("resque:resqpy:surprise:1", "x")
    said = await asyncio.to_thread(resqpy, "leave", "--dry-run", "--json")
    shown = await asyncio.to_thread(resqpy, "leave", "--dry-run")

    found = {each["kind"]: (each["count"], each["names"]) for each in said.json["left"]["unobeyed"]}
    assert found.pop("limits of tasks")[0] == 1
    assert found == {
        "paused queues": (1, ["mail"]),
        "limits of queues": (1, ["bulk: 3"]),
        "periodic tasks": (1, ["tick"]),
        "paused schedules": (1, ["daily"]),
        "tracked tasks": (2, ["2 scheduled"]),
        "jobs with an end": (2, []),
    }
    assert said.json["left"]["keys"] == {
        "Ruby's schedules": 1, "limits of queues and tasks": 3, "periodic tasks": 1, "surprise": 1,
        "tracked tasks": 1,
    }  # fmt: skip
    assert "others take their jobs, unless they have resque-pause" in shown.out


async def test_while_we_live_it_refuses(
    program: Program, redis: Redis, resqpy: Call, store: Store
) -> None:
    """Unless it is told; what a live process runs is left alone."""
    program("worker", "--scheduler", "--queues", "other")
    await registered(redis)
    await park(store, job(1))
    before = await redis.smembers("resque:workers")
    refused = await asyncio.to_thread(resqpy, "leave", "--yes")
    tried = await asyncio.to_thread(resqpy, "leave", "--dry-run", "--json")

    assert (refused.code, "1 worker process" in refused.err) == (Exit.NO, True)
    assert await redis.llen("resque:queue:mail") == 0
    assert (tried.code, len(tried.json["left"]["processes"])) == (Exit.NO, 1)
    assert await redis.smembers("resque:workers") == before


async def test_anyway(redis: Redis, resqpy: Call, store: Store) -> None:
    """Beside a live process, which nobody takes for dead."""
    await died_with(store, job(1), silent_s=0)
    await park(store, job(2))
    done = await asyncio.to_thread(resqpy, "leave", "--anyway", "--yes", "--json")

    assert (done.code, done.json["put_back"]) == (Exit.OK, {"parked": 1, "claimed": 0, "lost": 0})
    assert await redis.smembers("resque:workers") == {str(MINE).encode()}
    assert await redis.exists(f"resque:worker:{MINE}") == 1


async def test_who_is_silent_for_long_lives_where_the_config_says_so(
    redis: Redis, resqpy: Call, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process counts as dead when those who rescue its jobs say so, neither earlier nor later."""
    await died_with(store, job(1), silent_s=60)
    monkeypatch.setenv("RESQPY_SCHEDULER_RESCUE_AFTER", "120s")
    refused = await asyncio.to_thread(resqpy, "leave", "--yes")
    beside = await asyncio.to_thread(resqpy, "leave", "--anyway", "--yes", "--json")
    monkeypatch.setenv("RESQPY_SCHEDULER_RESCUE_AFTER", "50s")
    done = await asyncio.to_thread(resqpy, "leave", "--yes", "--json")

    assert (refused.code, "1 worker process" in refused.err) == (Exit.NO, True)
    assert (beside.json["put_back"]["lost"], beside.json["left"]["jobs"]["lost"]) == (0, 0)
    assert (done.code, done.json["put_back"]["lost"]) == (Exit.OK, 1)
    assert await redis.lrange("resque:queue:mail", 0, -1) == [job(1)]


async def test_a_leader_is_not_deposed(redis: Redis, resqpy: Call) -> None:
    """Its chores go on, and could move the same jobs."""
    await redis.set("resque:resqpy:leader", "somebody/7", px=60_000)
    done = await asyncio.to_thread(resqpy, "leave", "--anyway", "--yes")

    assert (done.code, "somebody/7 of resqpy leads" in done.err) == (Exit.NO, True)
    assert await redis.get("resque:resqpy:leader") == b"somebody/7"


def test_each_kind_of_key_is_known() -> None:
    """By the first part of its name, as `Keys` makes it."""
    text = (PACKAGE / "base" / "keys.py").read_text()
    names = set(re.findall(r'self\.own\("([a-z_]+)"', text))

    assert len(names) > 20
    assert names - KINDS.keys() == {"events"}  # a channel
