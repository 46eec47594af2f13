"""A walk over the times of delayed jobs while others take some out: none that stays is missed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from resqpy import Queue
from resqpy.store import delayed
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions

INDEX = "resque:delayed_queue_schedule"
FIRST = 4_000_000_000


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Store]:
    """The test's Redis."""
    opened = Store(RedisOptions(url=redis_url))
    yield opened
    await opened.close()


async def fill(redis: Any, count: int) -> list[str]:
    """So many times."""
    members = [str(FIRST + n) for n in range(count)]
    await redis.zadd(INDEX, {each: int(each) for each in members})
    return members


@pytest.mark.parametrize("taken", [0, 1, 7, 10, 25])
async def test_who_takes_out_the_first_hides_none(taken: int, store: Store, redis: Any) -> None:
    """As a scheduler does: what is there from the beginning to the end is seen, once."""
    members = await fill(redis, 100)
    seen: list[str] = []
    async for page in delayed.every_head(store, 1, step=10):
        seen += [str(second) for second, _ in page]
        if taken:
            await redis.zpopmin(INDEX, taken)
    left = [each.decode() for each in await redis.zrange(INDEX, 0, -1)]

    assert len(seen) == len(set(seen))
    assert set(left) <= set(seen) <= set(members)


async def test_equal_scores_are_walked_over(store: Store, redis: Any) -> None:
    """Foreign programs may have left odd members: more of one score than a page has, or without end."""
    numbers = {str(n): 5.5 for n in range(10, 45)} | {"1": "-inf", "2": "inf", "3": "inf"}
    await redis.zadd(INDEX, numbers | {"word": 5.5, "least": "-inf"})

    pages = [page async for page in delayed.every_head(store, 1, step=10)]

    assert sorted(str(second) for page in pages for second, _ in page) == sorted(numbers)
    assert len(pages) == 4


async def test_all_times_of_a_task_are_emptied(redis_url: str, redis: Any) -> None:
    """A second that is emptied leaves the index, in the middle of the walk."""
    job = b'{"class":"A","queue":"q","args":[]}'
    for member in await fill(redis, 2 * delayed.PAGE + 5):
        await redis.rpush(f"resque:delayed:{member}", job)
    async with Queue(redis_url) as queue:
        removed = await queue.del_delayed_by_function("A")

    assert removed == 2 * delayed.PAGE + 5
    assert await redis.keys("*") == []
