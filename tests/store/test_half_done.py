"""A script that meets an error has not lost what it had begun with: Redis rolls nothing back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from resqpy.base import job_records
from resqpy.base.errors import StoreError
from resqpy.store import failures, queues
from resqpy.store.connection.client import Arg, Store
from resqpy.store.connection.options import RedisOptions
from resqpy.store.exchange import EndCommands, Exchange
from resqpy.store.failures import Beside, EntryAction
from resqpy.store.periodic import Firing, fire
from resqpy.store.queues import Guard, Push
from tests.support.inspecting import failed_entry
from tests.support.redis_state import dump

LOCKS = [Guard("lock", "first", 60), Guard("lock", "spoiled", 60)]
WORDS = ["2", "lock", "first", "60", "lock", "spoiled", "60"]
MANY_DIGITS = "9" * 400


@pytest.fixture
async def store(redis_url: str, redis: Any) -> AsyncIterator[Store]:
    """The test's Redis, where a list stands under the key of a lock."""
    await redis.rpush("spoiled", "x")
    opened = Store(RedisOptions(url=redis_url))
    yield opened
    await opened.close()


async def test_an_enqueue_leaves_no_lock(store: Store, redis: Any) -> None:
    """It says which jobs were pushed."""
    jobs = [Push("q", b"1"), Push("q", b"2", LOCKS)]
    with pytest.raises(StoreError, match="jobs pushed before it: 1"):
        await queues.push(store, jobs)
    assert await redis.lrange("resque:queue:q", 0, -1) == [b"1"]
    assert not await redis.exists("first")


async def test_a_fire_that_fails_at_its_second_job(store: Store, redis: Any) -> None:
    """None is pushed: its notes are not written, so it will be tried again."""
    with pytest.raises(StoreError):
        await fire(store, None, Firing((), jobs=[b"1", b"2"], queue="q", guards=[[], LOCKS]))
    assert not await redis.exists("resque:queue:q", "first")


async def test_a_chain_whose_note_can_not_be_written(store: Store, redis: Any) -> None:
    """It stays due, and no job of it is pushed."""
    await redis.zadd("due", {"a": 5})
    notes = [("ZREM", "due", "a"), ("HSET", "spoiled", "a", 5)]
    with pytest.raises(StoreError):
        await fire(store, None, Firing((), pushed=notes, jobs=[b"1"], queue="q"))
    assert await redis.zscore("due", "a") == 5
    assert not await redis.exists("resque:queue:q")


async def test_a_delayed_item_that_can_not_be_pushed_or_claimed(store: Store, redis: Any) -> None:
    """It stays, with its place in the index, and no lock would forbid it the next time."""
    await redis.rpush("list", "i", "j")
    await redis.sadd("ts", "delayed:5")
    await redis.set("lease", "me")
    args = ["me", "1", "delayed:5", "2", "i", "ts", "push", "q", "resque:queue:q", "p", *WORDS]
    args += ["j", "ts", "claim", "text", "1", "lock", "first", "60"]
    keys = ["lease", "list", "resque:queues", "claimed"]
    await redis.set("claimed", "no list")
    done = await store.run("promote_items", keys, args)
    assert [b"WRONGTYPE" in each for each in done] == [True, True]
    assert sorted(await redis.lrange("list", 0, -1)) == [b"i", b"j"]
    assert await redis.smembers("ts") == {b"delayed:5"}
    assert not await redis.exists("first", "resque:queue:q")


async def test_an_advance_that_fails_at_its_second_job(store: Store, redis: Any) -> None:
    """The first has moved, the second stays, with its index."""
    await redis.rpush("list", "a", "b")
    await redis.sadd("ts:b", "delayed:5")
    args = ["delayed:5", "2", "0", "a", "q", "q", "", "0", "1", "b", "q", "q", "", *WORDS]
    done = await store.run("advance_items", ["list", "ts:", "resque:queues"], args)
    assert done[0] == 1
    assert b"WRONGTYPE" in done[1]
    assert await redis.lrange("list", 0, -1) == [b"b"]
    assert await redis.lrange("q", 0, -1) == [b"a"]
    assert await redis.smembers("ts:b") == {b"delayed:5"}
    assert not await redis.exists("first")


async def test_a_retry_that_fails_at_its_second_entry(store: Store, redis: Any) -> None:
    """The first is retried, the others stay."""
    raw = [failed_entry(b'{"class":"A","args":[%d]}' % n) for n in range(3)]
    entries = [*map(job_records.decode_failed, raw)]
    await redis.rpush("resque:failed", *raw)
    guards: list[list[Guard]] = [[], LOCKS, []]
    wanted = [EntryAction(entries[n], n, "q", b"%d" % n, guards[n]) for n in range(3)]
    with pytest.raises(StoreError):
        await failures.settle(store, "failed", wanted)
    assert await redis.lrange("resque:failed", 0, -1) == raw[1:]
    assert await redis.lrange("resque:queue:q", 0, -1) == [b"0"]
    assert not await redis.exists("first")


@pytest.mark.parametrize(("queue", "removal"), [("q", ""), ("", ""), ("", "removal")])
async def test_none_leaves_without_its_note(
    store: Store, redis: Any, queue: str, removal: str
) -> None:
    """What is written once beside the entries comes first, or they stay."""
    raw = failed_entry(b'{"class":"A","args":[]}')
    action = EntryAction(
        job_records.decode_failed(raw), 0, queue, b"j", [Guard("lock", "first", 60)]
    )
    await redis.rpush("resque:failed", raw)
    before = await dump(redis)
    beside = Beside(removal, 60, ("XADD", "spoiled", "*", "who", "me"))
    with pytest.raises(StoreError, match="WRONGTYPE"):
        await failures.settle(store, "failed", [action], beside)
    assert await dump(redis) == before
    beside = Beside(removal, 60, ("XADD", "notes", "*", "who", "me"))
    both = await failures.settle(store, "failed", [action, action], beside)
    assert both[1] in {"absent", "vetoed"}
    assert (await redis.xlen("notes"), await redis.llen("resque:failed")) == (1, 0)


async def test_bytes_kept_aside_that_are_of_another_kind(store: Store, redis: Any) -> None:
    """They count as gone, and the entry before that one leaves nothing in its place."""
    await redis.rpush("resque:failed", "a", "b")
    beside = ["", "0", "0", "", ""]
    args = [*beside, "2", "0", "a", "", "", "", "", "0", "1", "b", "spoiled", "q", "q", "", "0"]
    done = await store.run("settle_failed", ["resque:failed", "resque:queues"], args)
    assert done == [b"removed", b"lost"]
    assert await redis.lrange("resque:failed", 0, -1) == [b"b"]


async def test_rights_that_end_at_a_queue_or_a_lock(
    store: Store, redis: Any, redis_url: str
) -> None:
    """Where a user may only look at a queue, or knows nothing of a lock, no job and no entry is lost."""
    rights = ["+@all", "~resque:queues", "~from", "~there", "~failed", "%R~to"]
    await redis.execute_command("ACL", "SETUSER", "half", "on", ">p", *rights)
    other = Store(RedisOptions(url=redis_url.replace("://", "://half:p@")))
    await redis.rpush("from", "a", "b", "c")
    await redis.rpush("failed", "e")
    move = ["there", "0", "a", "a2", "", "", "1", "b", "b2", "lock", "lock2"]
    settle = ["", "0", "0", "", "", "1", "0", "e", "", "to", "to", "job", "0"]
    try:
        with pytest.raises(StoreError):
            await other.run("move_items", ["from", "there", "resque:queues"], move)
        with pytest.raises(StoreError):
            await other.run("settle_failed", ["failed", "resque:queues"], settle)
    finally:
        await other.close()
        await redis.execute_command("ACL", "DELUSER", "half")
    assert await redis.lrange("from", 0, -1) == [b"b", b"c"]
    assert await redis.lrange("there", 0, -1) == [b"a2"]
    assert await redis.lrange("failed", 0, -1) == [b"e"]


async def test_an_undelay_beside_a_spoiled_index(store: Store, redis: Any) -> None:
    """Nothing but what was asked leaves the list, and nothing comes into it."""
    await redis.rpush("list", "a", "b", "c")
    await redis.set("ts:a", "no set")
    await redis.set("ts:b", "no set")
    done = await store.run("undelay_items", ["list", "ts:", "schedule"], ["delayed:5", "0", "a"])
    assert done == [1]
    assert await redis.lrange("list", 0, -1) == [b"b", b"c"]
    assert await store.run("undelay_at", ["schedule", "list", "ts:"], [5, "delayed:5", 9, 99]) == [
        2,
        0,
    ]


async def test_a_delayed_item_that_the_index_can_not_take(store: Store, redis: Any) -> None:
    """It is not stored: nobody would find it when it is due."""
    await redis.set("resque:delayed_queue_schedule", "no index")
    before = await dump(redis)
    with pytest.raises(StoreError):
        await store.run(
            "delay",
            ["resque:delayed_queue_schedule", "resque:delayed:", "resque:timestamps:{}"],
            ["in", 60_000, "", "{}", "resque:timestamps:{}"],
        )
    assert await dump(redis) == before


async def test_a_job_lock_whose_holder_can_not_be_noted(store: Store, redis: Any) -> None:
    """It is not taken: nobody would free it."""
    with pytest.raises(StoreError):
        await store.run("take_job_lock", ["lock", "spoiled", "record"], [60, "0", "0", ""])
    assert not await redis.exists("lock")


async def test_a_chain_that_can_not_be_due_again_stays_where_it_is(
    store: Store, redis: Any
) -> None:
    """As the repair finds it there, and can go on with it later."""
    await redis.hset("out", "task", "5")
    await redis.set("lease", "me")
    keys = [
        "lease",
        "spoiled",
        "out",
        "workers",
        "q",
        "ts",
        "claimed",
        "worker:",
        "held:",
        "p",
        "l:",
    ]
    with pytest.raises(StoreError):
        await store.run("periodic_mend", keys, ["me", "task", "5", "7", "job", "q"])
    assert await redis.hget("out", "task") == b"5"


async def test_a_chain_whose_job_is_parked_goes_on_with_it(store: Store, redis: Any) -> None:
    """It waits for a limit of its task."""
    await redis.hset("out", "task", "5")
    await redis.set("lease", "me")
    await redis.zadd("p", {"a\nother": 1, "a\nq": 1})
    await redis.rpush("l:jobs:1:a:q", "job")
    keys = ["lease", "due", "out", "workers", "q", "ts", "claimed", "worker:", "held:", "p", "l:"]
    assert await store.run("periodic_mend", keys, ["me", "task", "5", "7", "job", "q"]) == b"queue"


async def test_a_second_of_many_digits(store: Store, redis: Any) -> None:
    """As no score can be made of it, it is odd; what is behind it is moved, and it stops no walk."""
    await redis.set("lease", "me")
    await redis.zadd("schedule", {MANY_DIGITS: 1, "2": 2})
    await redis.rpush("delayed:2", '{"class":"A","queue":"q","args":[]}')
    keys = ["lease", "lease", "lease", "schedule", "queues", "delayed:", "ts:", "queue:"]
    await store.run("promote", keys, ["me", 9, 9999, 9, "0", ""])
    assert await redis.llen("queue:q") == 1
    await redis.rpush(f"delayed:{MANY_DIGITS}", "x")
    mended = await store.run("mend_delayed", ["schedule", "delayed:"], [MANY_DIGITS])
    assert mended == 1
    await redis.delete("schedule")
    keys = ["lease", "lease", "lease", "schedule", "delayed:", "ts:"]
    await store.run("mend_orphans", keys, ["me", 0, 1000, "*", 60])
    assert await redis.zscore("schedule", MANY_DIGITS) == 0


@pytest.mark.parametrize("spoiled", ["queues", "rescues"])
async def test_a_rescue_that_is_refused_pushes_nothing(
    store: Store, redis: Any, spoiled: str
) -> None:
    """The job stays on its record; pushed too, it would be pushed again with each try."""
    await redis.set("lease", "me")
    await redis.set(spoiled, "junk")
    await redis.set("worker", "record")
    args: list[Arg] = ["me", "inc", 0, "id", "record", "LPUSH", "job", "q", "sha", "1", "", ""]
    with pytest.raises(StoreError):
        await store.run("rescue", [*RESCUE, *WORKER], args)
    assert await redis.get("worker") == b"record"
    assert not await redis.exists("q")


RESCUE = ["lease", "processes", "rescues", "queues", "stat:failed", "q", "held"]
WORKER = ["workers", "beats", "once", "worker", "held", "job_locks", "limits:"]


@pytest.mark.parametrize("key", ["workers", "beats", "once"])
async def test_a_dead_worker_beside_a_spoiled_key(store: Store, redis: Any, key: str) -> None:
    """Its job is put back once, the record goes, and the key is told."""
    await redis.set("lease", "me")
    await redis.set(key, "junk")
    await redis.set("worker", "record")
    args: list[Arg] = ["me", "inc", 0, "id", "record", "LPUSH", "job", "q", "sha", "1", "", ""]
    assert await store.run("rescue", [*RESCUE, *WORKER], args) == [key.encode()]
    assert await redis.lrange("q", 0, -1) == [b"job"]
    await redis.set("worker", "record")
    await store.run(
        "clean_worker", ["failed", "stat:failed", "held", *WORKER], ["id", "record", "e"]
    )
    assert await redis.lrange("failed", 0, -1) == [b"e"]
    assert not await redis.exists("worker")


async def test_a_run_of_a_chain_that_can_not_be_due_again(store: Store, redis: Any) -> None:
    """It is noted as enqueued, as before, so that the repair finds it."""
    await redis.hset("out", "task", "5")
    await redis.set("resque:worker:id", "record")
    exchange = Exchange(store, 1000)
    again = ("AGAIN", "spoiled", "out", "stopped", "task", "5", "200")
    await exchange.run([EndCommands("id", b"record", "p", [again])], [], [], "now")
    await exchange.close()
    assert await redis.hget("out", "task") == b"5"
    assert not await redis.exists("resque:worker:id")
