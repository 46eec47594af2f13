"""The history in Redis: slots that end by themselves, bounded names, samples and marks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy.base.errors import StoreError
from resqpy.base.history import (
    FAILED,
    GRAINS,
    HOURS,
    MINUTES,
    MOST_NAMES,
    OTHERS,
    QUEUES,
    RUNS,
    TASKS,
    TENS,
    Grain,
    new_record,
)
from resqpy.base.queue_age import QueueAge
from resqpy.store import history
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Store]:
    """A connection."""
    made = Store(RedisOptions(redis_url))
    yield made
    await made.close()


def ran(runs: int, failed: int = 0) -> list[int]:
    """A record."""
    record = new_record()
    record[RUNS], record[FAILED] = runs, failed
    return record


async def now_s(store: Store) -> int:
    """Redis' time."""
    return await store.time_us() // 1_000_000


async def read(store: Store, kind: str, grain: Grain, name: str | None = None) -> dict[str, Any]:
    """What the last two slots have, added (a test may run while one ends)."""
    found: dict[str, list[int]] = {}
    for slot in await history.read(store, kind, grain, grain.slots(await now_s(store), 2), name):
        for key, record in slot.items():
            known = found.setdefault(key, new_record())
            found[key] = [a + b for a, b in zip(known, record, strict=True)]
    return found


async def test_records_are_added(store: Store, redis: Redis) -> None:
    """In slots of each length, by whoever; all of them end by themselves."""
    for n in (1, 2):
        await history.write(store, {(TASKS, "Send"): ran(n, 1), (QUEUES, "mail"): ran(n)})
    for grain in GRAINS:
        found = await read(store, TASKS, grain)
        assert (found["Send"][RUNS], found["Send"][FAILED]) == (3, 2)
        assert (await read(store, QUEUES, grain, "mail"))["mail"][RUNS] == 3
        assert await read(store, TASKS, grain, "Other") == {}
    keys = await redis.keys("resque:resqpy:history:*")
    assert len(keys) >= 6
    for key in keys:
        grain = next(each for each in GRAINS if f":{each.name}:".encode() in key)
        assert 0 < await redis.ttl(key) <= grain.kept_s


async def test_names_of_a_slot_are_bounded(store: Store, redis: Redis) -> None:
    """Ten thousand names of many processes don't let it grow."""
    for first in range(0, 10_000, 100):
        part = {(TASKS, f"T{first + n}"): ran(1) for n in range(100)}
        await history.write(store, part)
    for key in await redis.keys("resque:resqpy:history:tasks:*"):
        assert await redis.hlen(key) <= MOST_NAMES + 1
    found = await read(store, TASKS, HOURS)
    assert sum(record[RUNS] for record in found.values()) == 10_000
    assert found[OTHERS][RUNS] >= 9000
    await history.write(store, {(TASKS, "T0"): ran(1)})  # which has a record of its own
    assert (await read(store, TASKS, HOURS))["T0"][RUNS] == 2


@pytest.mark.parametrize("junk", ["x", "", "[3]", '{"a":1}', "1.5", "-5", "9,x", "9" * 600])
async def test_what_others_wrote_there_is_no_number(store: Store, redis: Redis, junk: str) -> None:
    """It is written over, and breaks nothing."""
    for each in GRAINS:
        for slot in each.slots(await now_s(store) + each.step_s, 2):
            await redis.hset(store.keys.history(TASKS, each.name, str(slot)), "Send", junk)
    await history.write(store, {(TASKS, "Send"): ran(2)})
    assert (await read(store, TASKS, TENS))["Send"][RUNS] == 2


@pytest.mark.parametrize("grain", GRAINS)
async def test_a_key_of_another_type(store: Store, redis: Redis, grain: Grain) -> None:
    """All that was told is written, or nothing: it is told again, and must not count twice."""
    now = await now_s(store)
    keys = [
        store.keys.history(QUEUES, grain.name, str(each))
        for each in grain.slots(now + grain.step_s, 2)
    ]
    for key in keys:
        await redis.set(key, "of somebody")
    told = {(TASKS, "Send"): ran(2), (QUEUES, "mail"): ran(2)}
    with pytest.raises(StoreError, match="is no hash"):
        await history.write(store, told)
    await redis.delete(*keys)
    await history.write(store, told)
    assert (await read(store, TASKS, HOURS))["Send"][RUNS] == 2


async def test_a_sample(store: Store, redis: Redis) -> None:
    """Queues by length with the age of their first job, and the counters."""
    now = await now_s(store)
    await redis.mset({"resque:stat:processed": 70, "resque:stat:failed": 7})
    await redis.sadd("resque:queues", "mail", "low", "empty")
    await redis.rpush("resque:queue:mail", *"abc")
    await redis.rpush("resque:queue:low", "a")
    await redis.rpush("resque:failed", "x", "y")
    await redis.sadd("resque:workers", "a:1:*", "b:1:*")
    await redis.set("resque:worker:a:1:*", "{}")
    age = QueueAge(now * 1000, 3, (now - 60) * 1000, 0, "exact", 0, 0, 0.0, 0.0, counted=True)
    await redis.hset("resque:resqpy:ages", mapping={"": now * 1000, "mail": age.text()})
    await history.sample(store, now)
    [found] = await history.read(store, history.SAMPLE, MINUTES, MINUTES.slots(now, 1))

    assert set(found) == {"", "mail", "low"}
    assert found[""][:6] == [70, 7, 4, 2, 2, 1]
    assert found["mail"][0] == 3
    assert 59_000 <= found["mail"][1] <= 120_000
    assert found["low"][:2] == [1, 0]

    await redis.mset({"resque:stat:processed": 90, "resque:stat:failed": 9})
    await redis.delete("resque:queue:mail")
    await redis.rpush("resque:queue:low", "b")
    await history.sample(store, now)
    [found] = await history.read(store, history.SAMPLE, HOURS, HOURS.slots(now, 1))
    assert found[""][:3] == [70, 7, 4]  # counters of the first, the most of the rest
    assert (found["mail"][0], found["low"][0]) == (3, 2)


async def test_one_takes_on_the_sample_of_a_minute(store: Store, redis: Redis) -> None:
    """Where nobody leads, several consoles may want to."""
    now = await now_s(store)
    assert await history.claim_sample(store, now) is True
    assert await history.claim_sample(store, now) is False
    assert await redis.ttl(store.keys.history(history.SAMPLE, "1m", str(now - now % 60))) > 0
    await history.sample(store, now + 60)
    assert await history.claim_sample(store, now + 60) is False


async def test_marks(store: Store, redis: Redis) -> None:
    """In their order; they end by themselves."""
    await history.mark(store, "v1.1", "ann")
    await history.mark(store, "v1.2", "ben")
    found = await history.marks(store, 0)
    assert [(each.text, each.by) for each in found] == [("v1.1", "ann"), ("v1.2", "ben")]
    assert await history.marks(store, found[-1].at_ms + 1) == []
    assert await redis.ttl("resque:resqpy:history:marks") > 0
    for n in range(1200):
        await history.mark(store, str(n), "ann")
    assert await redis.xlen("resque:resqpy:history:marks") < 700
    assert len(await history.marks(store, 0)) == 500
