"""Failed jobs are retried step by step, until the same failure comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from resqpy import Worker
from resqpy.engine.inspect.inspector import Resque
from resqpy.engine.inspect.retry_watch import retry_watched
from tests.support.inspecting import failed_entry
from tests.support.waiting import PATIENCE_S


class Error(Exception):
    """What the entries say."""


@pytest.fixture
async def resque(redis_url: str) -> AsyncIterator[Resque]:
    """Both sides on the test's Redis."""
    async with Resque(redis_url) as both:
        yield both


async def fill(redis: Any, count: int) -> list[bytes]:
    """Entries of one failure."""
    entries = [failed_entry(b'{"class":"Boom","args":[%d]}' % n) for n in range(count)]
    await redis.rpush("resque:failed", *entries)
    return entries


async def test_all_are_retried_in_growing_steps(resque: Resque, redis: Any) -> None:
    """What was there before, and another failure, do not stop it."""
    await fill(redis, 10)
    await redis.rpush("resque:failed", failed_entry(b'{"class":"Other","args":[]}', exception="E"))
    steps: list[int] = []

    done = await retry_watched(resque, 0, on_step=steps.append, class_name="Boom")

    assert (done.retried, done.back, steps) == (10, None, [1, 2, 4, 3])
    assert await redis.llen("resque:queue:q") == 10
    assert [each.class_name for each in await resque.failed()] == ["Other"]


@pytest.mark.parametrize("to_queue", [None, "other"])
async def test_it_stops_where_nobody_takes_the_jobs(
    to_queue: str | None, resque: Resque, redis: Any
) -> None:
    """Whether they fail again is unknown, so the others stay."""
    await fill(redis, 10)
    done = await retry_watched(resque, 0.001, to_queue=to_queue)

    assert (done.retried, done.back, done.unserved) == (1, None, to_queue or "q")
    assert await redis.llen("resque:failed") == 9


async def test_it_stops_when_the_same_failure_comes_back(
    resque: Resque, redis_url: str, redis: Any
) -> None:
    """At the first step, although others of the kind were there before: those stay, with their bytes."""

    async def boom(n: int) -> None:
        raise Error(f"still broken: {n}")

    entries = await fill(redis, 20)
    steps: list[int] = []
    async with Worker(redis_url, {"Boom": {"perform": boom}}, "q"):
        done = await retry_watched(resque, PATIENCE_S, on_step=steps.append)

    assert (done.retried, steps) == (1, [1])
    assert done.back is not None
    assert (done.back.error, done.back.args) == ("still broken: 0", [0])
    assert await redis.lrange("resque:failed", 0, -1) == [*entries[1:], done.back.raw]
