"""Each script of the write side and the repairs: happy, empty, twice, wrong state, two at once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from resqpy.base import job_records
from resqpy.base.errors import StoreError
from resqpy.base.model import FailedJob
from resqpy.store import delayed, failures, queues, workers
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions
from resqpy.store.failures import EntryAction
from resqpy.store.queues import Guard, Push
from resqpy.store.sweep import Item
from tests.support.inspecting import failed_entry
from tests.support.redis_state import dump

FAILED = "resque:failed"


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Store]:
    """The test's Redis."""
    opened = Store(RedisOptions(url=redis_url))
    yield opened
    await opened.close()


def entry(number: int) -> FailedJob:
    """One of several."""
    return job_records.decode_failed(failed_entry(b'{"class":"A","args":[%d]}' % number))


# -- settle_failed --


async def test_settle_all_kinds_at_once(store: Store, redis: Any) -> None:
    """Removed, retried, vetoed, absent, lost: each by itself, the rest of the list in its order."""
    entries = [entry(n) for n in range(6)]
    await redis.rpush(FAILED, *(each.raw for each in entries))
    await redis.set("held", "9999999999")
    lost = job_records.decode_failed(
        failed_entry(job_records.unreadable_reference("d", 1, "q", "nowhere"))
    )
    await redis.rpush(FAILED, lost.raw)

    words = await failures.settle(
        store,
        "failed",
        [
            EntryAction(entries[1], 1),
            EntryAction(entries[2], 2, "q", b"job 2"),
            EntryAction(entries[3], 0, "q", b"job 3"),  # the index is wrong
            EntryAction(entries[4], 4, "q", b"job 4", [Guard("absent", "held")]),
            EntryAction(entry(99), -1),
            EntryAction(lost, 6, "q"),
        ],
    )

    assert words == ["removed", "retried", "retried", "vetoed", "absent", "lost"]
    left = [entries[0].raw, entries[4].raw, entries[5].raw, lost.raw]
    assert await redis.lrange(FAILED, 0, -1) == left
    assert await redis.lrange("resque:queue:q", 0, -1) == [b"job 2", b"job 3"]
    assert await redis.smembers("resque:queues") == {b"q"}


async def test_settle_into_what_is_no_queue(store: Store, redis: Any) -> None:
    """The entry stays as it is, takes no lock, and the others go their way."""
    entries = [entry(n) for n in range(3)]
    await redis.rpush(FAILED, *(each.raw for each in entries))
    await redis.set("resque:queue:text", "text")
    words = await failures.settle(
        store,
        "failed",
        [
            EntryAction(entries[0], 0, "q", b"job 0"),
            EntryAction(entries[1], 1, "text", b"job 1", [Guard("lock", "lock", 60)]),
            EntryAction(entries[2], 2, "q", b"job 2"),
        ],
    )
    assert words == ["retried", "no list", "retried"]
    assert await dump(redis) == {
        FAILED: [entries[1].raw.decode()], "resque:queues": {"q"},
        "resque:queue:q": ["job 0", "job 2"], "resque:queue:text": "text",
    }  # fmt: skip


async def test_settle_where_the_set_of_queues_is_none(store: Store, redis: Any) -> None:
    """Nothing is done, so no job leaves the list for nowhere."""
    await redis.rpush(FAILED, entry(0).raw)
    await redis.set("resque:queues", "text")
    before = await dump(redis)
    with pytest.raises(StoreError, match="resque:queues is no set"):
        await failures.settle(store, "failed", [EntryAction(entry(0), 0, "q", b"job 0")])
    assert await dump(redis) == before


@pytest.mark.parametrize(
    ("value", "word"),
    [(None, "retried"), ("17", "retried"), ("x", "retried"), ("9999999999", "vetoed")],
)
async def test_settle_asks_locks(value: str | None, word: str, store: Store, redis: Any) -> None:
    """A lock that is over or no number is taken over, as at an enqueue."""
    await redis.rpush(FAILED, entry(1).raw)
    if value is not None:
        await redis.set("lock", value)
    guards = [Guard("lock", "lock", 60)]
    assert await failures.settle(
        store, "failed", [EntryAction(entry(1), 0, "q", b"j", guards)]
    ) == [word]
    assert (word == "vetoed") == (await redis.ttl("lock") == -1)
    assert await redis.llen(FAILED) == (word == "vetoed")


async def test_settle_on_nothing(store: Store, redis: Any) -> None:
    """An empty list, a missing key, no settlings."""
    assert await failures.settle(store, "failed", []) == []
    assert await failures.settle(store, "failed", [EntryAction(entry(1), 0, "q", b"j")]) == [
        "absent"
    ]
    assert await dump(redis) == {}


async def test_two_retry_one_entry(store: Store, redis: Any) -> None:
    """One of them does."""
    await redis.rpush(FAILED, entry(1).raw)
    settling = EntryAction(entry(1), 0, "q", b"j")
    words = await asyncio.gather(*(failures.settle(store, "failed", [settling]) for _ in range(5)))
    assert sorted(words) == [["absent"]] * 4 + [["retried"]]
    assert await redis.lrange("resque:queue:q", 0, -1) == [b"j"]


async def test_an_error_names_all_keys_that_a_script_touches(store: Store, redis: Any) -> None:
    """Redis does not tell which of them has another kind."""
    await redis.set("resque:timestamps:x", "text")
    keys: list[str | bytes] = [store.keys.schedule, "resque:delayed:", "resque:timestamps:x"]
    with pytest.raises(StoreError, match=r"mend_delayed\.lua .* resque:timestamps:x' met a key"):
        await store.run("mend_delayed", keys, [])


async def test_settle_on_a_key_of_another_kind(store: Store, redis: Any) -> None:
    """An error, and nothing is done."""
    await redis.set(FAILED, "text")
    with pytest.raises(StoreError, match="WRONGTYPE"):
        await failures.settle(store, "failed", [EntryAction(entry(1), 0, "q", b"j")])
    assert set(await dump(redis)) == {FAILED}


async def test_clear_takes_kept_bytes_along(store: Store, redis: Any) -> None:
    """A page at a time."""
    kept = failed_entry(job_records.unreadable_reference("d", 1, "q", "k"))
    await redis.rpush(FAILED, entry(1).raw, kept, *(entry(n).raw for n in range(20)))
    await redis.set("resque:resqpy:unreadable:k", b"bytes")
    assert await failures.clear(store, "failed", step=7) == 22
    assert await dump(redis) == {}
    assert await failures.clear(store, "failed") == 0


# -- drop_items and remove --


async def test_drop_items_by_bytes(store: Store, redis: Any) -> None:
    """Right and wrong indices, equal items, items that are gone."""
    await redis.rpush("resque:queue:q", b"a", b"b", b"a", b"c", b"a")
    items = [Item(2, b"a"), Item(0, b"c"), Item(0, b"x"), Item(4, b"a")]
    gone = await queues.drop(store, "q", items)
    assert gone == [items[0], items[1], items[3]]
    assert await redis.lrange("resque:queue:q", 0, -1) == [b"a", b"b"]
    assert await queues.drop(store, "q", []) == []
    assert await queues.drop(store, "empty", [Item(0, b"a")]) == []


@pytest.mark.parametrize(
    ("count", "left"),
    [(0, b"x"), (1, b"xbab"), (3, b"xb"), (-1, b"axba"), (-3, b"ax"), (9, b"x"), (-9, b"x")],
)
async def test_remove_several_texts(count: int, left: bytes, store: Store, redis: Any) -> None:
    """So many in all, first text first."""
    await redis.rpush("resque:queue:q", *(bytes([b]) for b in b"axbab"))
    if count in (-3, 3, 1, -1):
        before = await redis.llen("resque:queue:q")
        removed = await queues.remove(store, "q", [b"a", b"b"], count)
        assert removed == abs(count)
        assert await redis.llen("resque:queue:q") == before - abs(count)
        return
    assert await queues.remove(store, "q", [b"a", b"b"], count) == 4
    assert await redis.lrange("resque:queue:q", 0, -1) == [left]


# -- enqueue --


async def test_push_takes_back_locks_of_a_veto(store: Store, redis: Any) -> None:
    """The first lock was free, the second is held: neither is left behind, nothing is pushed."""
    await redis.set("second", "9999999999")
    guards = [Guard("lock", "first", 60), Guard("lock", "second", 60)]
    assert await queues.push(store, [Push("q", b"a", guards), Push("q", b"b")]) == [guards[1], None]
    assert await dump(redis) == {
        "second": "9999999999", "resque:queues": {"q"}, "resque:queue:q": ["b"],
    }  # fmt: skip


async def test_what_can_not_be_pushed_leaves_no_lock(store: Store, redis: Any) -> None:
    """A queue that is no list: the error names it, and the lock of its job is free."""
    await redis.set("resque:queue:text", "text")
    pushes = [Push("q", b"a"), Push("text", b"b", [Guard("lock", "lock", 60)])]
    with pytest.raises(StoreError, match=r"WRONGTYPE.*resque:queue:text; jobs pushed before it: 1"):
        await queues.push(store, pushes)
    assert not await redis.exists("lock")
    assert await redis.lrange("resque:queue:q", 0, -1) == [b"a"]


# -- delayed --


async def test_undelay_in_a_list_of_another_kind(store: Store, redis: Any) -> None:
    """A member that leads nowhere is taken away with the others."""
    await redis.set("resque:delayed:1", "text")
    await redis.rpush("resque:delayed:2", b"i", b"i")
    await redis.sadd("resque:timestamps:i", "delayed:1", "delayed:2", "odd")
    assert await delayed.remove(store, [b"i"]) == [2]
    assert set(await dump(redis)) == {"resque:delayed:1"}
    assert await delayed.remove(store, [b"i"]) == []


async def test_seconds_of_odd_members(store: Store, redis: Any) -> None:
    """What is no second is not one."""
    await redis.sadd("resque:timestamps:i", "delayed:7", "odd", "delayed:1.5", "delayed:")
    assert (await delayed.seconds_and_index(store, [b"i", b"j"]))[0] == [7]


# -- clean_worker --


async def test_clean_is_void_if_the_record_changed(store: Store, redis: Any) -> None:
    """The worker went on to another job meanwhile: look again."""
    await redis.set("resque:worker:h:1:q", b"new")
    await redis.sadd("resque:workers", "h:1:q")
    before = await dump(redis)
    assert not await workers.clean(store, "h:1:q", b"old", b"entry", None, FAILED)
    assert not await workers.clean(store, "h:1:q", None, None, None, FAILED)
    assert await dump(redis) == before
    assert await workers.clean(store, "h:1:q", b"new", b"entry", None, FAILED)
    assert not await workers.clean(store, "h:1:q", b"new", b"entry", None, FAILED)
    assert await dump(redis) == {FAILED: ["entry"], "resque:stat:failed": "1"}


async def test_two_clean_one_worker(store: Store, redis: Any) -> None:
    """One entry, counted once."""
    await redis.set("resque:worker:h:1:q", b"record")
    done = await asyncio.gather(
        *(workers.clean(store, "h:1:q", b"record", b"entry", None, FAILED) for _ in range(4))
    )
    assert sorted(done) == [False, False, False, True]
    assert await redis.lrange(FAILED, 0, -1) == [b"entry"]


READ_LATER = """
from pathlib import Path
from resqpy.store.connection import client

def refuse(self):
    raise AssertionError(f"read while running: {self}")

names = [each.stem for each in Path(client.__file__).parents[2].glob("*/lua/*.lua")]
Path.read_bytes = Path.read_text = Path.open = refuse
print(len({client.script(name).sha for name in names}) == len(names) > 30)
"""


def test_all_scripts_are_read_at_import() -> None:
    """A process whose files are replaced by another version's while it runs keeps its scripts."""
    command = [sys.executable, "-c", READ_LATER]
    said = subprocess.run(command, check=False, capture_output=True, text=True)

    assert said.stdout == "True\n", said.stderr
