"""No call of a script is given more than so many bytes, however large the jobs are."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from hypothesis import given, strategies as st

from resqpy.base import job_records
from resqpy.store import delayed, failures, queues
from resqpy.store.connection.client import MAX_BYTES, Arg, Store, portions
from resqpy.store.connection.line import Line
from resqpy.store.connection.options import RedisOptions
from resqpy.store.delayed import Advance
from resqpy.store.failures import EntryAction
from resqpy.store.queues import Moved
from resqpy.store.sweep import Item

SECOND = 2_000_000_000


class Watched(Store):
    """A store that notes what its scripts are given."""

    def __init__(self, url: str) -> None:
        super().__init__(RedisOptions(url))
        self.given: list[int] = []

    async def run(
        self, name: str, keys: Sequence[Arg], args: Sequence[Arg] = (), line: Line | None = None
    ) -> Any:
        """Run a script."""
        self.given.append(sum(len(each) for each in args if isinstance(each, bytes)))
        return await super().run(name, keys, args, line)


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Watched]:
    """A watched store on the test's Redis."""
    made = Watched(redis_url)
    yield made
    await made.close()


def large(number: int) -> bytes:
    """A job that is large; a few of them are too much for one call."""
    return b'{"class":"C","queue":"q","args":[%d,"%s"]}' % (number, b"x" * 300_000)


JOBS = [*map(large, range(8))]
CHOSEN = [Item(index, JOBS[index]) for index in (0, 1, 2, 4, 5, 7)]
KEPT = [JOBS[3], JOBS[6]]


def within(store: Watched, calls: int) -> bool:
    """Whether several calls were made, none with more than it may be given."""
    return len(store.given) >= calls and max(store.given) <= MAX_BYTES


@given(st.lists(st.integers(0, 50)), st.integers(1, 100))
def test_portions_are_all_in_their_order(sizes: list[int], most: int) -> None:
    """Each as full as it may be."""
    found = list(portions(sizes, lambda size: size, most))

    assert [size for part in found for size in part] == sizes
    assert all(len(part) == 1 or sum(part) <= most for part in found)
    assert all(sum(part) + following[0] > most for part, following in itertools.pairwise(found))


async def test_dropping(store: Watched, redis: Any) -> None:
    """Jobs that wait."""
    await redis.rpush("resque:queue:q", *JOBS)

    assert await queues.drop(store, "q", CHOSEN) == CHOSEN
    assert await redis.lrange("resque:queue:q", 0, -1) == KEPT
    assert within(store, 2)


async def test_moving(store: Watched, redis: Any) -> None:
    """To another queue, in their order."""
    await redis.rpush("resque:queue:q", *JOBS)

    gone = await queues.move(store, "q", "r", [Moved(item, item.raw) for item in CHOSEN])

    assert gone == {item.index for item in CHOSEN}
    assert await redis.lrange("resque:queue:q", 0, -1) == KEPT
    assert await redis.lrange("resque:queue:r", 0, -1) == [item.raw for item in CHOSEN]
    assert within(store, 4)


async def test_dropping_delayed_jobs(store: Watched, redis: Any) -> None:
    """Of one second, and all of it."""
    for raw in JOBS:
        await store.transaction(delayed.add_commands(store, SECOND, raw))

    assert await delayed.drop(store, SECOND, CHOSEN) == {item.index for item in CHOSEN}
    assert await redis.lrange(f"resque:delayed:{SECOND}", 0, -1) == KEPT
    assert within(store, 2)
    assert await delayed.remove_at(store, SECOND) == len(KEPT)
    assert await redis.keys("*") == []


async def test_all_of_a_second(store: Watched, redis: Any) -> None:
    """Large ones a few at a time, small ones some hundred."""
    small = [b'{"class":"C","queue":"q","args":[%d]}' % number for number in range(1200)]
    for raw in (*JOBS, *small):
        await store.transaction(delayed.add_commands(store, SECOND, raw))

    assert await delayed.remove_at(store, SECOND) == 1208
    assert await redis.keys("*") == []
    assert len(store.given) >= 4


async def test_advancing(store: Watched, redis: Any) -> None:
    """Delayed jobs that are to run now."""
    for raw in JOBS:
        await store.transaction(delayed.add_commands(store, SECOND, raw))

    gone = await delayed.advance(store, SECOND, [Advance(item, "q") for item in CHOSEN])

    assert gone == {item.index for item in CHOSEN}
    assert await redis.lrange("resque:queue:q", 0, -1) == [item.raw for item in CHOSEN]
    assert within(store, 2)


async def test_settling_failed_jobs(store: Watched, redis: Any) -> None:
    """Some are removed, some are tried again; each in its step."""
    entries = [
        job_records.encode_failed(
            job_json=raw,
            queue="q",
            worker="w",
            exception="E",
            error="e",
            backtrace=[],
            failed_at="t",
        )
        for raw in JOBS
    ]
    await redis.rpush("resque:failed", *entries)
    settlings = [
        EntryAction(
            job_records.decode_failed(entries[item.index]),
            item.index,
            "q" if item.index % 2 else "",
            item.raw,
        )
        for item in CHOSEN
    ]

    words = await failures.settle(store, "failed", settlings)

    assert words == ["removed", "retried", "removed", "removed", "retried", "retried"]
    assert await redis.lrange("resque:queue:q", 0, -1) == [JOBS[1], JOBS[5], JOBS[7]]
    assert await redis.lrange("resque:failed", 0, -1) == [entries[3], entries[6]]
    assert within(store, 4)
