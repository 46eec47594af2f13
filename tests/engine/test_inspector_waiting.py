"""Queues and delayed jobs are listed alike, whichever language wrote them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy.base.model import UnreadableJob
from resqpy.engine.inspect.inspector import Resque
from tests.support.inspecting import round_trips
from tests.support.recordings import recorded_values, replay

LATER = 4_000_000_000_000  # ms
LATER_SECOND = LATER // 1000


@pytest.fixture
async def resque(redis_url: str) -> AsyncIterator[Resque]:
    """Both sides on the test's Redis."""
    async with Resque(redis_url) as both:
        yield both


async def test_queues_and_their_lengths(resque: Resque) -> None:
    """Names are sorted bytewise; any number of lengths costs two round trips."""
    await resque.enqueue_many([(q, "Echo", [n]) for n in range(3) for q in ("zeta", "Alpha", "é")])

    assert await resque.queues() == ["Alpha", "zeta", "é"]
    assert await resque.length("zeta") == 3
    assert await resque.length("nobody") == 0
    with round_trips(resque.store, 2):
        assert await resque.lengths() == {"Alpha": 3, "zeta": 3, "é": 3}


async def test_a_queue_with_a_name_that_is_no_utf8(resque: Resque, redis: Any) -> None:
    """A foreign name of any bytes is listed, measured, read and deleted."""
    await redis.sadd("resque:queues", b"odd\xff")
    await redis.rpush(b"resque:queue:odd\xff", b'{"class":"Echo","args":[1]}')

    [name] = await resque.queues()

    assert (await resque.queued(name))[0].args == [1]
    assert await resque.del_queue(name) == 1
    assert await resque.queues() == []


async def test_queued_by_position(resque: Resque) -> None:
    """Both ends count, negative positions count from the tail, without bounds it is a page."""
    await resque.enqueue_many([("q", "Echo", [n]) for n in range(250)])

    assert [job.args for job in await resque.queued("q", 1, 2)] == [[1], [2]]
    assert [job.args for job in await resque.queued("q", -2, -1)] == [[248], [249]]
    assert len(await resque.queued("q")) == 100


@pytest.mark.parametrize("name", recorded_values("job"))
async def test_jobs_of_all_dialects_are_shown(name: str, resque: Resque, redis: Any) -> None:
    """A recorded job is shown with its class and exact bytes."""
    raw = recorded_values("job")[name]
    await redis.rpush("resque:queue:q", raw)

    [job] = await resque.queued("q")

    assert job.raw == raw
    assert job.queue == "q"
    if b"ud800" not in raw and b'"str"' not in raw:
        assert job.class_name
        assert job.class_name.encode() in raw


@pytest.mark.parametrize("name", recorded_values("poison"))
async def test_poison_is_shown_as_unreadable(name: str, resque: Resque, redis: Any) -> None:
    """One bad element does not break the list (it breaks Node's `queued`)."""
    raw = recorded_values("poison")[name]
    good = ("extra keys", "json_class key in args", "duplicate keys")
    await redis.rpush("resque:queue:q", raw, b'{"class":"Good","args":[]}')

    bad, fine = await resque.queued("q")

    assert fine.class_name == "Good"
    assert bad.raw == raw
    assert isinstance(bad, UnreadableJob) == (name not in good)
    assert not isinstance(bad, UnreadableJob) or bad.problem


async def test_each_queued_walks_in_pages_and_misses_nothing(resque: Resque, redis: Any) -> None:
    """Jobs popped at the head meanwhile do not hide those behind them."""
    await resque.enqueue_many([("q", "Echo", [n]) for n in range(1200)])

    seen = []
    async for job in resque.each_queued("q"):
        seen.append(job.args[0])
        if len(seen) in (400, 700):
            await redis.lpop("resque:queue:q", 150)
            await resque.enqueue("q", "Echo", ["later"])

    assert seen[: seen.index("later") if "later" in seen else None] == list(range(1200))


async def test_scheduled_at_finds_both_dialects(resque: Resque, redis: Any) -> None:
    """Trap 18: Ruby's key order and float text, Node's, and ours are one job."""
    for second, text in (
        (4_000_000_010, b'{"class":"A","args":[1.0e-05,{"b":1.0}],"queue":"q"}'),
        (4_000_000_020, b'{"class":"A","args":[0.00001,{"b":1.0}],"queue":"q"}'),
        (4_000_000_030, b'{"class":"A","queue":"q","args":[0.00001,{"b":1}]}'),
    ):
        await redis.rpush(f"resque:delayed:{second}", text)
        await redis.sadd(b"resque:timestamps:" + text, f"delayed:{second}")
    await resque.enqueue_at(LATER, "q", "A", [1e-5, {"b": 1.0}])

    with round_trips(resque.store, 1):
        found = await resque.scheduled_at("q", "A", [1e-5, {"b": 1.0}])
    assert found == [LATER, LATER + 10_000, LATER + 20_000, LATER + 30_000]
    assert await resque.del_delayed("q", "A", [1e-5, {"b": 1.0}]) == found
    assert await resque.scheduled_at("q", "A", [1e-5, {"b": 1.0}]) == []


async def test_timestamps_ignore_junk(resque: Resque, redis: Any) -> None:
    """Traps 3 and 19: `delayed:last_enqueued_at` and odd members of the index are no times."""
    await redis.hset("resque:delayed:last_enqueued_at", "job", "2026-11-21 00:27:20 +0000")
    await redis.zadd("resque:delayed_queue_schedule", {"1.5": 1.5, "abc": 7, "1e9": 1e9, "²": 3})
    await resque.enqueue_at(LATER, "q", "Echo", [1])

    assert await resque.timestamps() == [LATER]
    assert list(await resque.all_delayed()) == [LATER]


async def test_delayed_at_rounds_as_enqueue_at_does(resque: Resque) -> None:
    """What was stored for a moment is found by that moment, a number or a datetime."""
    await resque.enqueue_at(LATER + 1, "q", "Echo", ["é"])
    when = datetime.fromtimestamp(LATER / 1000 + 1, UTC)

    [job] = await resque.delayed_at(LATER + 1)

    assert (job.queue, job.class_name, job.args) == ("q", "Echo", ["é"])
    assert await resque.delayed_at(LATER + 1000) == await resque.delayed_at(when) == [job]
    assert await resque.delayed_at(LATER) == []
    assert await resque.del_delayed_at(LATER + 1) == 1


async def test_all_delayed_has_a_limit(resque: Resque) -> None:
    """Earliest first, so many jobs and no more."""
    for n in range(4):
        await resque.enqueue_at(LATER + n // 2 * 1000, "q", "Echo", [n])

    some = await resque.all_delayed(limit=3)
    everything = await resque.all_delayed()

    assert {due: [job.args for job in jobs] for due, jobs in some.items()} == {
        LATER: [[0], [1]],
        LATER + 1000: [[2]],
    }
    assert sum(map(len, everything.values())) == 4
    assert await resque.all_delayed(limit=0) == {}


@pytest.mark.parametrize("name", ["ruby-05-delayed-api", "node-05-delayed-api"])
async def test_recorded_delayed_jobs_are_listed(name: str, resque: Resque, redis: Any) -> None:
    """Every item of a recorded installation comes by, with its queue."""
    await replay(redis, name)
    keys = [key async for key in redis.scan_iter("resque:delayed:*")]
    stored = sum([await redis.llen(key) for key in keys])

    jobs = [job async for _, job in resque.each_delayed()]

    assert len(jobs) == stored > 0
    assert all(job.queue and job.class_name for job in jobs)


async def test_delayed_jobs_of_a_task_go_at_once(resque: Resque, redis: Redis) -> None:
    """Whoever wrote them, for one queue or all, with some arguments or any; others stay, and the reverse
    index is right; some round trips for many times.
    """
    for n in range(40):
        await redis.zadd("resque:delayed_queue_schedule", {str(LATER_SECOND + n): LATER_SECOND + n})
        for text in (
            b'{"class":"A","queue":"q","args":[%d]}' % (n % 2),
            b'{"args":[1.0],"class":"A","queue":"other"}',
            b'{"class":"B","queue":"q","args":[]}',
        ):
            await redis.rpush(f"resque:delayed:{LATER_SECOND + n}", *[text] * (30 if n == 7 else 1))
            await redis.sadd(b"resque:timestamps:" + text, f"delayed:{LATER_SECOND + n}")  # fmt: skip
    before = resque.store.line.round_trips

    some = await resque.del_delayed_by_function("A", queue="q", args=[1])
    spent = resque.store.line.round_trips - before
    others = await resque.del_delayed_by_function("A", queue="other")
    rest = await resque.del_delayed_by_function("A")

    assert (some, others, rest) == (49, 69, 20)
    assert spent < 10
    assert [job.class_name async for _, job in resque.each_delayed()] == ["B"] * 69
    assert [key async for key in redis.scan_iter("resque:timestamps:*")] == [
        b'resque:timestamps:{"class":"B","queue":"q","args":[]}'
    ]


@pytest.mark.parametrize("how", ["del_delayed", "by_function", "foreign"])
async def test_seconds_that_were_emptied_are_no_times(how: str, resque: Resque, redis: Any) -> None:
    """Whoever took the last job of a second, nothing is due at it; ours leave no trace in the index."""
    for due, args in ((LATER, [1]), (LATER + 10_000, [1]), (LATER + 20_000, [2])):
        await resque.enqueue_at(due, "q", "Echo", args)
    if how == "del_delayed":
        assert len(await resque.del_delayed("q", "Echo", [1])) == 2
    elif how == "by_function":
        assert await resque.del_delayed_by_function("Echo", args=[1]) == 2
    else:  # as Ruby and Node do it
        for due in (LATER, LATER + 10_000):
            await redis.delete(f"resque:delayed:{due // 1000}")

    assert await resque.timestamps() == [LATER + 20_000]
    if how != "foreign":
        assert await resque.delayed_count() == 1
    assert [*await resque.all_delayed()] == [LATER + 20_000]
