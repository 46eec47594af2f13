"""Every verb that finds, counts, moves or removes jobs means the same ones, whoever wrote them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from resqpy import Resque
from resqpy.base.errors import StoreError
from resqpy.base.reading import JobFilter
from resqpy.engine.plugin import Plugin
from resqpy.engine.queue.removing import Advancing, delete_delayed_jobs, delete_jobs, move_jobs
from tests.unit.test_job_filter import SAME

ARGS = [{"to": "ü/é", "n": 1}]
OTHER = b'{"class":"Mail","args":[{"to":"else"}]}'
FIRST = 4_000_000_000
DELAYED = [raw[:-1] + b',"queue":"q"}' if b'"queue":' not in raw else raw for raw in SAME]
DELAYED = [raw.replace(b'"queue":"other"', b'"queue":"q"') for raw in DELAYED]


@pytest.fixture
async def resque(redis_url: str) -> AsyncIterator[Resque]:
    """Both sides on the test's Redis."""
    async with Resque(redis_url) as made:
        yield made


async def delay(redis: Any, *raws: bytes, index: bool = False) -> None:
    """Store items, a second each, as a client without `timestamps:` sets does."""
    for n, raw in enumerate(raws):
        await redis.rpush(f"resque:delayed:{FIRST + n}", raw)
        await redis.zadd("resque:delayed_queue_schedule", {str(FIRST + n): FIRST + n})
        if index:
            await redis.sadd(b"resque:timestamps:" + raw, f"delayed:{FIRST + n}")


@pytest.mark.parametrize("count", [0, 2, -2, -9, 9])
async def test_delete(count: int, resque: Resque, redis: Any) -> None:
    """All, from the head, from the tail; others stay in their order."""
    await redis.rpush("resque:queue:q", OTHER, *SAME, OTHER)
    number = len(SAME) if count == 0 else min(abs(count), len(SAME))

    assert await resque.delete("q", "Mail", ARGS, count) == number

    left = await redis.lrange("resque:queue:q", 0, -1)
    kept = SAME[number:] if count >= 0 else SAME[: len(SAME) - number]
    assert left == [OTHER, *kept, OTHER]


async def test_delete_looks_at_all_of_a_long_queue(resque: Resque, redis: Any) -> None:
    """In windows, also behind the first."""
    await redis.rpush("resque:queue:q", *[OTHER] * 2500, SAME[0], *[OTHER] * 700, SAME[3])

    assert await resque.delete("q", "Mail", ARGS) == 2
    assert await redis.llen("resque:queue:q") == 3200


async def test_a_dry_run_is_the_same_walk(resque: Resque, redis: Any) -> None:
    """It says what the act does, and how far it looked."""
    await redis.rpush("resque:queue:q", *SAME, OTHER, b"junk")
    await delay(redis, *DELAYED, OTHER)
    wanted = JobFilter.of("Mail", ARGS)
    store = resque.store

    walks: list[Any] = [
        lambda **dry: delete_delayed_jobs(store, wanted, **dry),
        lambda **dry: move_jobs(store, "q", "there", wanted, **dry),
        lambda **dry: delete_jobs(store, "there", wanted, **dry),
    ]
    for walk in walks:
        seen = await walk(dry_run=True)
        done = await walk(dry_run=False)
        assert (seen.found, seen.done) == (len(SAME), 0)
        assert (done.found, done.done, done.looked_at) == (len(SAME), len(SAME), seen.looked_at)
    assert await redis.lrange("resque:queue:q", 0, -1) == [OTHER, b"junk"]


@pytest.mark.parametrize("index", [False, True])
async def test_delayed_jobs_are_found(index: bool, resque: Resque, redis: Any) -> None:
    """Also where their writer keeps no reverse index, and where ours is beside them."""
    await delay(redis, *DELAYED, index=index)
    await resque.enqueue_at((FIRST + 50) * 1000, "q", "Mail", ARGS)
    await redis.rpush(f"resque:delayed:{FIRST + 50}", OTHER, DELAYED[1])
    times = [(FIRST + n) * 1000 for n in (*range(len(SAME)), 50)]

    assert await resque.scheduled_at("q", "Mail", ARGS) == times
    assert await resque.scheduled_at("r", "Mail", ARGS) == []
    assert await resque.del_delayed("q", "Mail", ARGS) == times
    assert await resque.scheduled_at("q", "Mail", ARGS) == []
    assert [job.raw async for _, job in resque.each_delayed()] == [OTHER]


async def test_a_truth_is_no_number(resque: Resque, redis: Any) -> None:
    """Python takes `True` for 1; a job with the one is not a job with the other."""
    await redis.rpush("resque:queue:q", b'{"class":"A","args":[true]}', b'{"class":"A","args":[1]}')
    await delay(redis, b'{"class":"A","args":[true],"queue":"q"}')

    assert await resque.delete("q", "A", [1]) == 1
    assert await resque.del_delayed_by_function("A", args=[1]) == 0
    assert await resque.move("q", "r", args=[1]) == 0
    assert await redis.lrange("resque:queue:q", 0, -1) == [b'{"class":"A","args":[true]}']


# -- delayed jobs run now --


async def test_delayed_jobs_run_now(resque: Resque, redis: Any) -> None:
    """With their exact bytes, the earliest first; the reverse index is right; others stay."""
    await delay(redis, *DELAYED, OTHER, index=True)

    some = await resque.enqueue_delayed("Mail", args=ARGS, most=3)
    rest = await resque.enqueue_delayed("Mail", queue="q")

    assert (some, rest) == (3, 1)
    assert await redis.lrange("resque:queue:q", 0, -1) == DELAYED
    assert await redis.smembers("resque:queues") == {b"q"}
    assert [key async for key in redis.scan_iter("resque:timestamps:*")] == [
        b"resque:timestamps:" + OTHER
    ]


class No(Plugin):
    """Forbids."""

    async def before_enqueue(self, job: Any) -> bool:
        """No, for one argument."""
        return bool(job.args != ["no"])


async def test_hooks_and_locks_are_asked(redis_url: str, redis: Any) -> None:
    """What they forbid stays delayed, with its index; its own DelayQueueLock forbids nothing."""
    jobs: dict[str, Any] = {
        "hooked": {"perform": print, "plugins": [No]},
        "one": {"perform": print, "plugins": ["QueueLock", "DelayQueueLock"]},
    }
    async with Resque(redis_url, jobs) as resque:
        for name, args in (("hooked", ["no"]), ("hooked", ["yes"]), ("one", [1]), ("one", [2])):
            await resque.enqueue_at(FIRST * 1000, "q", name, args)
        await redis.set("resque:lock:one:q:[2]", 9_999_999_999)
        before = {key async for key in redis.scan_iter("resque:timestamps:*")}

        assert await resque.enqueue_delayed("hooked") == 1
        assert await resque.enqueue_delayed("one") == 1

    assert len(await redis.lrange("resque:queue:q", 0, -1)) == 2
    left = await redis.lrange(f"resque:delayed:{FIRST}", 0, -1)
    assert [raw.rpartition(b"args")[2] for raw in left] == [b'":["no"]}', b'":[2]}']
    there = {key async for key in redis.scan_iter("resque:timestamps:*")}
    assert there == {key for key in before if key.endswith((b'["no"]}', b"[2]}"))}


async def test_what_stays_delayed(resque: Resque, redis: Any) -> None:
    """A tracked task, a job without a queue, one that can't be read, one whose queue is no list."""
    stays = [
        b'{"class":"A","queue":"q","args":[{"_task_id":"t1"}]}',
        b'{"class":"A","args":[1]}',
        b'{"class":"A","queue":"q","args":["\xff"]}',
    ]
    await delay(redis, *stays)

    assert (await Advancing(resque).walk(JobFilter("A"))).found == 0

    await redis.set("resque:queue:text", "text")
    await delay(redis, *[b""] * 3, b'{"class":"B","queue":"text","args":[]}', index=True)
    with pytest.raises(StoreError, match="'text'"):
        await resque.enqueue_delayed("B")
    assert await redis.llen(f"resque:delayed:{FIRST + 3}") == 1
    assert await redis.exists(b'resque:timestamps:{"class":"B","queue":"text","args":[]}')
