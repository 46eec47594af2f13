"""A walk over a list that others change: nothing is missed, and it comes to an end."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions
from resqpy.store.sweep import Sweep, every

KEY = "list"


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Store]:
    """The test's Redis."""
    opened = Store(RedisOptions(url=redis_url))
    yield opened
    await opened.close()


async def fill(redis: Any, number: int) -> list[bytes]:
    """So many items, none twice."""
    items = [b"%d" % n for n in range(number)]
    if items:
        await redis.rpush(KEY, *items)
    return items


@pytest.mark.parametrize("number", [0, 1, 9, 10, 11, 35])
async def test_a_quiet_list(number: int, store: Store, redis: Any) -> None:
    """Everything once, in order, a page at a time."""
    items = await fill(redis, number)
    assert [raw async for raw in every(store, KEY, step=10)] == items


@pytest.mark.parametrize(
    ("start", "most", "seen"),
    [(5, 10, (5, 15)), (28, 99, (28, 30)), (40, 5, (0, 0)), (0, 0, (0, 0))],
)
async def test_a_part(
    start: int, most: int, seen: tuple[int, int], store: Store, redis: Any
) -> None:
    """From an index, so many."""
    items = await fill(redis, 30)
    sweep = Sweep(store, KEY, start=start, most=most, step=4)
    found = []
    while page := await sweep.page():
        found += [item.raw for item in page]
        assert all(items[item.index] == item.raw for item in page)
    assert found == items[slice(*seen)]


async def test_what_is_pushed_meanwhile_is_not_visited(store: Store, redis: Any) -> None:
    """So a walk ends although others push."""
    items = await fill(redis, 30)
    found = []
    async for raw in every(store, KEY, step=4):
        found.append(raw)
        await redis.rpush(KEY, b"new")
    assert found == items


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 1.0])
async def test_others_and_oneself_remove(share: float, seed: int, store: Store, redis: Any) -> None:
    """Told or not, removals hide nothing that is still there, and nothing comes twice."""
    rng = random.Random(seed)
    items = await fill(redis, 200)
    sweep, found, taken = Sweep(store, KEY, step=20), [], set()
    while page := await sweep.page():
        found += [item.raw for item in page]
        gone = {item.index for item in page if rng.random() < share}
        for item in page:
            if item.index in gone:
                await redis.lrem(KEY, 1, item.raw)
        if rng.random() < 0.7:
            sweep.removed(gone)
        for _ in range(rng.randint(0, 8)):
            taken.add(await redis.lpop(KEY))
        await redis.rpush(KEY, b"new%d" % rng.randint(0, 10**9))
    assert [raw for raw in found if not raw.startswith(b"new")] == [
        raw for raw in items if raw in found
    ]
    assert set(items) - set(found) <= taken
    assert len(found) == len(set(found))


async def test_the_list_is_cleared_meanwhile(store: Store, redis: Any) -> None:
    """The walk ends."""
    await fill(redis, 50)
    sweep = Sweep(store, KEY, step=10)
    assert len(await sweep.page()) == 10
    await redis.delete(KEY)
    assert await sweep.page() == []


async def test_equal_items(store: Store, redis: Any) -> None:
    """They can't be told apart, yet the walk goes on and ends."""
    await redis.rpush(KEY, *[b"a", b"b"] * 100)
    found = []
    async for raw in every(store, KEY, step=10):
        found.append(raw)
        if len(found) % 7 == 0:
            await redis.lpop(KEY)
    assert len(found) <= 200
    assert len(found) >= 100


@pytest.mark.parametrize("popped", [0, 1, 20, 21, 25, 40, 63, 105])
async def test_items_that_come_again_hide_nothing(popped: int, store: Store, redis: Any) -> None:
    """Where the same few jobs come again and again, a list that has shifted is known by its run of items."""
    items = [b"%s%d" % (b"A" if n % 3 else b"B", n % 7) for n in range(2000)]
    await redis.rpush(KEY, *items)
    sweep, pages = Sweep(store, KEY, step=200), 0
    while page := await sweep.page():
        wanted = [item for item in page if item.raw.startswith(b"A")]
        for done, item in enumerate(wanted):
            await redis.lset(KEY, item.index - done, b"gone")
            await redis.lrem(KEY, 1, b"gone")
        sweep.removed({item.index for item in wanted})
        pages += 1
        if pages in {3, 6} and popped:
            await redis.lpop(KEY, popped)

    assert [raw for raw in await redis.lrange(KEY, 0, -1) if raw.startswith(b"A")] == []
