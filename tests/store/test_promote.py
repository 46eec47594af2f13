"""The moving scripts: one step for each item, whatever stands in its way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import pytest

from resqpy.base import codec
from resqpy.store import delayed
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions
from resqpy.store.delayed import Action, Claim, Decision, Drop, Enqueue, Fail
from resqpy.store.queues import Guard
from tests.support.redis_state import dump

ITEM = b'{"class":"A","queue":"q","args":[1]}'
KEYS = ("resque:resqpy:leader", "resque:ruby", "resque:node")


@dataclass
class Held:
    """A leadership."""

    fence: tuple[str, ...] = KEYS
    token: str = "me/1"


async def lead(redis: Any) -> None:
    """Be the leader."""
    await redis.mset(dict.fromkeys(KEYS, "me/1"))


@pytest.fixture
async def store(redis_url: str, redis: Any) -> AsyncIterator[Store]:
    """A store on the test's Redis, whose leader we are."""
    await lead(redis)
    made = Store(RedisOptions(url=redis_url))
    yield made
    await made.close()


async def delay(redis: Any, *items: bytes, second: int = 1000) -> None:
    """Store items for a second."""
    for item in items:
        await redis.rpush(f"resque:delayed:{second}", item)
        await redis.sadd(b"resque:timestamps:" + item, f"delayed:{second}")
    await redis.zadd("resque:delayed_queue_schedule", {str(second): second})


async def state(redis: Any) -> dict[str, Any]:
    """Everything but the leader's keys."""
    found = await dump(redis)
    return {key: value for key, value in found.items() if key not in KEYS}


def job(number: int) -> bytes:
    """A numbered item."""
    return b'{"class":"A","queue":"q","args":[%d]}' % number


async def test_a_step_is_bounded_and_says_what_is_left(store: Store, redis: Any) -> None:
    """No more than a batch moves in one step; the next second is told."""
    await delay(redis, *(job(number) for number in range(delayed.BATCH + 10)))
    await delay(redis, job(-1), second=2_000_000_000)

    first = await delayed.move_due(store, Held())
    second = await delayed.move_due(store, Held())

    assert (first.worked, first.next_s) == ([(b"1000", delayed.BATCH)], 1000)
    assert (second.worked, second.next_s) == ([(b"1000", 10)], 2_000_000_000)
    assert await redis.llen("resque:queue:q") == delayed.BATCH + 10


@pytest.mark.parametrize(("size", "most"), [(1_000, 64), (10_000, 6), (40_000, 1), (60_000, 1)])
async def test_a_step_is_bounded_in_bytes(store: Store, redis: Any, size: int, most: int) -> None:
    """Large jobs move a few at a time, so that no step holds the server for long; all of them move."""
    large = [b'{"class":"A","queue":"q","args":["%s",%d]}' % (b"x" * size, n) for n in range(20)]
    await delay(redis, *large)
    steps = 0

    while await redis.llen("resque:queue:q") < len(large):
        moved = await delayed.move_due(store, Held())
        assert moved.page == []
        assert 0 < moved.worked[0][1] <= most
        steps += 1

    assert steps >= len(large) / most
    assert await redis.lrange("resque:queue:q", 0, -1) == large


async def test_it_stops_at_what_must_be_looked_at_and_shows_the_head(
    store: Store, redis: Any
) -> None:
    """What stands before it is moved; it stays where it is."""
    special = b'{"class":"B","queue":"q","args":[]}'
    await delay(redis, job(1), special, job(2))

    moved = await delayed.move_due(store, Held(), ["B"], tell=True)

    assert moved.told == [(b"1000", job(1))]
    assert (moved.member, moved.page) == (b"1000", [special, job(2)])
    assert await redis.lrange("resque:delayed:1000", 0, -1) == [special, job(2)]
    assert await redis.sismember(b"resque:timestamps:" + special, "delayed:1000")


async def test_decisions_are_carried_out_each_in_one_step(store: Store, redis: Any) -> None:
    """Pushed, failed, claimed, dropped, or gone: the results stand in the order of the items."""
    await delay(redis, job(1), job(2), job(3), job(4))
    actions: list[Action] = [
        Enqueue("q"),
        Fail(b"entry", ValueError(), "q"),
        Claim(),
        Drop(),
        Enqueue("q"),
    ]

    results = await delayed.decide_delayed(
        store, Held(), b"1000",
        [Decision(job(number), b"1000", action) for number, action in enumerate(actions, 1)],
    )  # fmt: skip

    assert results == [1, 1, 1, 1, -1]
    assert await state(redis) == {
        "resque:queues": {"q"},
        "resque:queue:q": [job(1).decode()],
        "resque:failed": ["entry"],
        "resque:resqpy:claimed": ["1000:" + job(3).decode()],
        "resque:delayed_queue_schedule": {"1000": 1000.0},
    }


async def test_a_vetoed_job_is_dropped_and_frees_the_locks_it_took(
    store: Store, redis: Any
) -> None:
    """The first lock is free and taken, the second forbids it: the first is freed again."""
    await redis.set("held", "9999999999")
    await delay(redis, ITEM)
    guards = [Guard("lock", "free", 60), Guard("lock", "held", 60)]

    results = await delayed.decide_delayed(
        store, Held(), b"1000", [Decision(ITEM, b"1000", Enqueue("q", guards))]
    )

    assert results == [delayed.VETOED]
    assert await redis.exists("free", "resque:queue:q", "resque:delayed:1000") == 0


async def test_what_redis_refuses_stays_where_it_was(store: Store, redis: Any) -> None:
    """A queue that is no list: the item, its index entry and its locks are as before."""
    await redis.set("resque:queue:q", "no list")
    await delay(redis, ITEM)
    before = await state(redis)
    guards = [Guard("lock", "free", 60)]

    [result] = await delayed.decide_delayed(
        store, Held(), b"1000", [Decision(ITEM, b"1000", Enqueue("q", guards))]
    )

    assert "WRONGTYPE" in str(result)
    after = await state(redis)
    assert after.pop("resque:queues") == {"q"}
    assert after == before


async def test_of_equal_items_one_goes_at_a_time(store: Store, redis: Any) -> None:
    """Ruby stores equal jobs of one second twice: both are promoted."""
    await delay(redis, ITEM, ITEM)

    moved = await delayed.move_due(store, Held())

    assert moved.worked == [(b"1000", 2)]
    assert await redis.lrange("resque:queue:q", 0, -1) == [ITEM, ITEM]


async def test_claimed_items_keep_their_second(store: Store, redis: Any) -> None:
    """So that the events of a successor can name it."""
    await redis.rpush("resque:resqpy:claimed", b"12.5:" + ITEM)

    [found] = await delayed.claimed(store, 10)
    results = await delayed.decide_claimed(
        store, Held(fence=KEYS[:1]), [Decision(found.item, found.member, Enqueue("q"))]
    )

    assert (found.member, found.item, results) == (b"12.5", ITEM, [delayed.DONE])
    assert await redis.lrange("resque:queue:q", 0, -1) == [ITEM]
    assert not await redis.exists("resque:resqpy:claimed")


async def test_no_index_is_left_of_a_long_second(store: Store, redis: Any) -> None:
    """Also while more items stand there than are looked at, each one's entry of the index goes with it."""
    await delay(redis, job(1), job(2))
    await redis.rpush("resque:delayed:1000", *[b'{"class":"B","queue":"q","args":[]}'] * 5_001)

    done = await delayed.decide_delayed(
        store, Held(), b"1000", [Decision(job(1), b"1000"), Decision(job(2), b"1000")]
    )

    assert done == [delayed.DONE, delayed.DONE]
    assert await redis.keys("resque:timestamps:*") == []


GLOBS = (
    "low", "lo", "l*", "*w", "l?w", "?", "??", "[lx]ow", "[!l]ow", "[a-m]*", "[]]", "[!]", "[", "a.b", "a%b", "%",
    "é*", "^low$", "[^]ow", "a-b", "l[o%]w", "", "[]", "**", "l[!-]w",
)  # fmt: skip
NAMES = (
    "low",
    "lo",
    "l",
    "lxw",
    "l-w",
    "é",
    "éa",
    "a.b",
    "axb",
    "a%b",
    "%",
    "^low$",
    "^ow",
    "]",
    "[",
    "a-b",
    "[]",
    "b",
)


async def test_a_name_is_in_ruby_s_queues_as_in_python(redis_url: str, redis: Any) -> None:
    """Each glob means the same to the script that moves most jobs, and to the one that is told what to do."""
    for glob in filter(None, GLOBS):
        store = Store(RedisOptions(redis_url, ruby_queues=[glob]))
        for name in NAMES:
            await redis.flushdb()
            await lead(redis)
            item = f'{{"class":"A","args":[1.0],"queue":"{name}"}}'.encode()
            await delay(redis, item)
            await delayed.move_due(store, Held())
            [there] = await redis.lrange(f"resque:queue:{name}", 0, -1)
            assert there == codec.when_due(item, name, [glob])
            assert (there == b'{"class":"A","args":[1.0]}') is fnmatchcase(name, glob), (name, glob)
        await store.close()


async def test_only_what_ruby_wrote_is_changed(redis_url: str, redis: Any) -> None:
    """Another order, another queue, other blanks: bytes are kept."""
    await lead(redis)
    store = Store(RedisOptions(redis_url, ruby_queues=["q"]))
    items = [
        b'{"class":"A","queue":"q","args":[]}',
        b'{"args":[],"class":"A","queue":"q"}',
        b'{"class":"A","args":[], "queue":"q"}',
        b'{"class":"A","args":[],"queue":"q" }',
    ]
    await delay(redis, *items)
    await delayed.move_due(store, Held())
    assert await redis.lrange("resque:queue:q", 0, -1) == items
    await store.close()
