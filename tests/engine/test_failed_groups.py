"""Failed jobs counted by what failed how, and retried gently."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from resqpy.base import codec
from resqpy.base.errors import UsageError
from resqpy.engine.inspect.failed_jobs import MAX_GROUPS
from resqpy.engine.inspect.inspector import Resque
from tests.support.inspecting import failed_entry
from tests.support.recordings import INSTALLATIONS, replay

RATE = 40


@pytest.fixture
async def resque(redis_url: str) -> AsyncIterator[Resque]:
    """Both sides on the test's Redis."""
    async with Resque(redis_url) as both:
        yield both


async def test_groups_tell_when_it_began_and_give_an_example(resque: Resque, redis: Any) -> None:
    """The largest first; the order in the list does not matter, nor entries without a time or a job."""
    last = failed_entry(failed_at="2026-11-21T09:00:00.000Z", error="the last")
    await redis.rpush(
        "resque:failed",
        last,
        failed_entry(failed_at="2026/11/21 07:00:00 UTC"),
        failed_entry(failed_at="whenever"),
        failed_entry(b'{"class":"Other","args":[]}', exception="KeyError"),
        b"no json",
    )

    found = await resque.failed_groups()
    some = await resque.failed_groups(class_name="Other", exception=["KeyError", "x"])

    assert [(each.class_name, each.exception, each.count) for each in found] == [
        ("Boom", "Error", 3), ("Other", "KeyError", 1), (None, None, 1),
    ]  # fmt: skip
    assert (found[0].last_ms or 0) - (found[0].first_ms or 0) == 2 * 3600 * 1000
    assert codec.digest(found[0].example.raw) == codec.digest(last)
    assert [each.count for each in some] == [1]


async def test_groups_of_all_languages(resque: Resque, redis: Any) -> None:
    """All recorded entries of Ruby and Node are in a group that has a time, in one list or several."""
    for name in (*INSTALLATIONS, "ruby-03-failure-multiqueue"):
        await replay(redis, name)

    found = await resque.failed_groups()

    assert sum(each.count for each in found) == await resque.failed_count() > 10
    assert all(each.class_name and each.first_ms for each in found)
    assert [each.class_name for each in found if not each.exception] == ["ThrowString"]  # Node's
    assert {"Boom", "ThrowString"} <= {each.class_name for each in found}


@pytest.mark.parametrize("number", [3000, pytest.param(100_000, marks=pytest.mark.full)])
async def test_many_entries_of_many_kinds_need_little_memory(
    resque: Resque, redis: Any, number: int
) -> None:
    """Page by page; names that are new each time are one group in the end."""
    fill = """for n = 1, ARGV[2] do
        local kind = n % 2 == 0 and 'Same' or 'New' .. n
        redis.call('RPUSH', 'resque:failed', (ARGV[1]:gsub('Boom', kind)))
    end"""
    await redis.eval(fill, 0, failed_entry(error="x" * 200), number)
    tracemalloc.start()

    found = await resque.failed_groups()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert (found[0].class_name, found[0].count) == ("Same", number // 2)
    assert len(found) == MAX_GROUPS + 1
    assert [each.others for each in found].index(True) == MAX_GROUPS
    assert sum(each.count for each in found) == number
    assert peak < 20e6


async def test_a_gentle_retry_takes_its_time(resque: Resque, redis: Any) -> None:
    """So many a second at the most, evenly, in their order; all of those that are meant, and no other."""
    other = failed_entry(b'{"class":"Other","args":[]}')
    jobs = [b'{"class":"Boom","args":[%d]}' % n for n in range(RATE // 2)]
    await redis.rpush("resque:failed", other, *map(failed_entry, jobs))
    began = time.monotonic()

    retried = await resque.retry_all_failed(class_name="Boom", rate=RATE)

    assert retried == RATE // 2
    assert 0.3 < time.monotonic() - began < 10
    assert await redis.lrange("resque:queue:q", 0, -1) == jobs
    assert await redis.lrange("resque:failed", 0, -1) == [other]


@pytest.mark.parametrize("rate", [0, -1, float("nan")])
async def test_a_rate_is_above_0(resque: Resque, rate: float) -> None:
    """Anything else is refused before anything is done."""
    with pytest.raises(UsageError, match="rate"):
        await resque.retry_all_failed(rate=rate)
