"""A tracked task whose record somebody has spoiled: it harms nobody else, and nothing of it is lost."""

from __future__ import annotations

from typing import Any

import pytest

from resqpy.base import job_records
from resqpy.base.errors import StoreError
from resqpy.engine.options import WorkerOptions
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions
from resqpy.tracked.errors import MalformedTask
from resqpy.tracked.verbs import Tracked
from tests.support.waiting import wait_for
from tests.tracked.support import Workshop

SPOILED = [
    {"attempts": "many"},
    {"status": "asleep"},
    {"last": "1:2"},
    {"tags": "{"},
    {"error": "[" * 3000 + "]" * 3000},
    {"backoff": "often"},
    {"priority": b"\xff"},
    {"end": "soon"},
    {"lock_ms": "long"},
    {"created": "once"},
    {"v": "one"},
    {"status": "scheduled", "next": "soon"},
]


async def mail(*_: Any) -> str:
    """A task."""
    return "sent"


@pytest.mark.parametrize("fields", SPOILED, ids=lambda each: [*each][-1])
async def test_its_job_fails_with_its_bytes_and_the_next_one_runs(
    redis_url: str, redis: Any, fields: dict[str, Any]
) -> None:
    """The record stays as it is."""
    store = Store(RedisOptions(redis_url))
    tracked = Tracked(store)
    spoiled = await tracked.create("mail", {"n": 1})
    key = store.keys.task(spoiled.id)
    await redis.hset(key, mapping=fields)
    job = (await redis.lrange("resque:queue:default", 0, -1))[0]
    other = await tracked.create("mail", {"n": 2})

    async def both() -> bool:
        return await tracked.count(status="completed") == 1 and await redis.llen("resque:failed")

    async with Workshop(store, {"mail": mail}):
        await wait_for(both)
    entry = job_records.decode_failed((await redis.lrange("resque:failed", 0, -1))[0])
    assert entry.job_raw == job
    assert spoiled.id in (entry.error or "")
    if "attempts" in fields:
        assert "its field 'attempts'" in (entry.error or "")
    assert (await redis.hmget(key, *fields)) == [
        each if isinstance(each, bytes) else each.encode() for each in fields.values()
    ]
    if {"created", "v", "lock_ms"} & {*fields}:
        assert await redis.hget(key, "status") == b"pending"  # it is not half taken
    done = await tracked.get(other.id)
    assert done is not None
    assert done.status == "completed"
    await store.close()


UNSHOWABLE = [
    ("payload", ""),
    ("payload", "["),
    ("payload", "[1]"),
    ("payload", "\ud83d".encode("utf-8", "surrogatepass")),
    ("result", "x"),
    ("next", "9" * 23),
    ("created", "9" * 23),
    ("last", f"1:{'9' * 23}:1"),
]


@pytest.mark.parametrize(("field", "text"), UNSHOWABLE)
async def test_it_hides_no_other_task(redis_url: str, redis: Any, field: str, text: Any) -> None:
    """A query shows those that can be read; asked for by its id, it says what is wrong."""
    store = Store(RedisOptions(redis_url))
    tracked = Tracked(store)
    spoiled, other = [await tracked.create("mail", {"n": n}) for n in (1, 2)]
    await redis.hset(store.keys.task(spoiled.id), field, text)

    page = await tracked.query(type="mail")
    assert [each.id for each in page.tasks] == [other.id]
    assert page.tasks[0].to_json()["payload"] == {"n": 2}
    with pytest.raises(MalformedTask, match=f"{spoiled.id} can't be read"):
        await tracked.get(spoiled.id)
    await store.close()


@pytest.mark.parametrize("spoiled", ["field", "kind"])
async def test_a_job_that_is_placed_before_it_costs_none(
    redis_url: str, redis: Any, spoiled: str
) -> None:
    """One that was due earlier goes before those that were due later; jobs are moved for that."""
    store = Store(RedisOptions(redis_url))
    tracked = Tracked(store)
    tasks = [await tracked.create("mail", {"n": n}) for n in range(3)]
    for each in tasks[1:]:
        await redis.hset(store.keys.task(each.id), "next", "4000000000000")
    key = store.keys.task(tasks[1].id)
    if spoiled == "field":
        await redis.hset(key, "next", "soon")
    else:
        await redis.set(key, "no record")
    before = await redis.lrange("resque:queue:default", 0, -1)
    await tracked.create("mail", {"n": 3})
    after = await redis.lrange("resque:queue:default", 0, -1)
    assert len(after) == 4
    assert [each for each in after if each in before] == before
    await store.close()


async def test_a_job_that_is_too_large_is_kept(redis_url: str, redis: Any) -> None:
    """Its task fails, and its bytes stand under the key that the failed entry names."""
    store = Store(RedisOptions(redis_url))
    tracked = Tracked(store)
    task = await tracked.create("mail", {"text": "x" * 300_000})
    (job,) = await redis.lrange("resque:queue:default", 0, -1)
    options = WorkerOptions(max_payload=100_000)
    async with Workshop(store, {"mail": mail}, options=options) as shop:
        await wait_for(lambda: redis.llen("resque:failed"))
    assert shop.errors == []
    (kept,) = await redis.keys("resque:resqpy:unreadable:*")
    assert await redis.get(kept) == job
    failed = await tracked.get(task.id)
    assert failed is not None
    assert failed.status == "failed"
    await store.close()


@pytest.mark.parametrize("key", ["resque:resqpy:tasks:pending", "resque:queue:default"])
async def test_a_creation_that_is_refused_leaves_nothing(
    redis_url: str, redis: Any, key: str
) -> None:
    """Neither a job without a record nor a record without a job, nor an entry of an index."""
    store = Store(RedisOptions(redis_url))
    await redis.set(key, "junk")
    words = ["2", "3", "RPUSH", "resque:queue:default", "job"]
    words += [
        "10",
        "STEP",
        "record",
        "a",
        "events",
        "",
        "1",
        "resque:resqpy:tasks:pending",
        "5",
        "1",
        "f",
    ]
    with pytest.raises(StoreError):
        await store.run("task_write", ["record"], words)
    assert await redis.keys("*") == [key.encode()]
    await store.close()


async def test_a_task_with_more_tags_than_lua_unpacks(redis_url: str, redis: Any) -> None:
    """It is created, run and found by one of them."""
    store = Store(RedisOptions(redis_url))
    tracked = Tracked(store)
    await tracked.create("mail", {}, tags=[f"t{n}" for n in range(8100)])

    async def completed() -> bool:
        return await tracked.count(status="completed") == 1

    async with Workshop(store, {"mail": mail}) as shop:
        await wait_for(completed)
    assert shop.errors == []
    await store.close()
