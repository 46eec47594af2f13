"""A call that may be repeated makes one job: its key is set in the step that pushes the job."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from resqpy import Enqueuing, OutcomeUnknown, Plugin, Queue, RedisOptions, SyncQueue, UsageError
from resqpy.base.keys import Keys
from resqpy.store.queues import Guard
from tests.support.inspecting import round_trips
from tests.support.proxy import Proxy
from tests.support.redis_state import dump, ttls

KEY = 'resque:resqpy:once:["Echo","order-17"]'
FAR_MS = 4_000_000_000_000


async def test_the_same_call_makes_one_job(redis_url: str, redis: Any) -> None:
    """While its key is known, for this task; one round trip, and no other task is concerned."""
    async with Queue(redis_url) as queue:
        await queue.enqueue("q", "Other", once="a")  # Redis knows the script now
        with round_trips(queue.store, 3):
            assert await queue.enqueue("q", "Echo", [1], once="order-17")
            assert not await queue.enqueue("q", "Echo", [1], once="order-17")
            assert await queue.enqueue("q", "Other", [1], once="order-17")

    assert await redis.llen("resque:queue:q") == 3
    assert 86_390_000 < (await ttls(redis))[KEY] <= 86_400_000


async def test_it_is_known_for_so_long(redis_url: str, redis: Any) -> None:
    """By Redis' clock; then the call makes a job again."""
    async with Queue(redis_url) as queue:
        for within in (5000, timedelta(seconds=5)):
            assert await queue.enqueue("q", "Echo", once="order-17", once_within=within)
            assert 4000 < (await ttls(redis))[KEY] <= 5000
            await redis.delete(KEY)
        assert await queue.enqueue_front("q", "Echo", once="order-17", once_within=5000)
    assert await redis.llen("resque:queue:q") == 3


@pytest.mark.parametrize("written", [True, False])
@pytest.mark.parametrize("when", ["now", "later"])
async def test_a_lost_answer(redis_url: str, redis: Any, when: str, written: bool) -> None:
    """Its caller can't know whether the job was written: asked again, there is one."""
    async with Proxy(redis_url) as proxy, Queue(RedisOptions(proxy.url)) as queue:
        now, later = partial(queue.enqueue, "q"), partial(queue.enqueue_at, FAR_MS, "q")
        call = now if when == "now" else later
        await call("Other", once="a")  # Redis knows the script now
        (proxy.lose_reply if written else proxy.cut_before)(1)
        with pytest.raises(OutcomeUnknown):
            await call("Echo", [1], once="order-17")
        assert await call("Echo", [1], once="order-17") is not written
        assert not await call("Echo", [1], once="order-17")
    assert (
        await redis.llen("resque:queue:q" if when == "now" else f"resque:delayed:{FAR_MS // 1000}")
        == 2
    )


async def test_many_count_by_their_places(redis_url: str, redis: Any) -> None:
    """A bulk of which a part was written is completed; a list has a key for each."""
    jobs = [("q", "Echo", [n]) for n in range(4)]
    async with Queue(redis_url) as queue:
        assert await queue.enqueue_many(jobs[:2], once="a") == [True, True]
        assert await queue.enqueue_many(jobs, once="a") == [False, False, True, True]
        keys = ["b", None, "b", "c"]
        assert await queue.enqueue_many(jobs, once=keys) == [True, True, False, True]
        assert await queue.enqueue_many(jobs[3:], once=["c"]) == [False]
        with pytest.raises(UsageError, match="1 keys for 4 jobs"):
            await queue.enqueue_many(jobs, once=["c"])
    texts = [each.decode() for each in await redis.lrange("resque:queue:q", 0, -1)]
    assert [each[-3] for each in texts] == ["0", "1", "2", "3", "0", "1", "3"]


@pytest.mark.parametrize(("at_ms", "in_ms"), [(FAR_MS, 0), (None, 60_000)])
async def test_delayed_jobs(redis_url: str, redis: Any, at_ms: int | None, in_ms: int) -> None:
    """The key is set in the step that delays the job; it counts for a job of now, and the other way round."""
    async with Queue(redis_url) as queue:
        job = ("q", "Echo", [1])
        for refused in (None, "once"):
            done = await queue.enqueued_later(job, at_ms=at_ms, in_ms=in_ms, once="order-17")
            assert done is not None
            assert done.refused == refused
        assert not await queue.enqueue(*job, once="order-17")
        assert await queue.enqueue(*job, once="order-18")
        for verb, when in ((queue.enqueue_at, FAR_MS), (queue.enqueue_in, 60_000)):
            assert not await verb(
                when, "q", "Echo", [2], once="order-18"
            )  # and it raises no DuplicateDelayedJob
            assert not await verb(0 if when == 60_000 else 10**12, "q", "Echo", once="order-18")
    assert await redis.zcard("resque:delayed_queue_schedule") == 1
    assert await redis.llen("resque:queue:q") == 1


async def test_a_job_that_is_due_is_marked_when_it_is_pushed(redis_url: str, redis: Any) -> None:
    """Not by the step that finds it due, after which the push may fail."""
    async with Queue(redis_url) as queue:
        assert await queue.enqueue_at(10**12, "q", "Echo", once="order-17")
        assert not await queue.enqueue_at(10**12, "q", "Echo", once="order-17")
        assert not await queue.enqueue_in(0, "q", "Echo", once="order-17")
    assert await redis.llen("resque:queue:q") == 1


async def test_a_duplicate_leaves_no_key(redis_url: str, redis: Any) -> None:
    """No job was made by this call, so another time may have it."""
    async with Queue(redis_url) as queue:
        await queue.enqueue_at(FAR_MS, "q", "Echo")
        done = await queue.enqueued_later(("q", "Echo", []), at_ms=FAR_MS, once="order-17")
        assert done is not None
        assert done.refused == "duplicate"
    assert not await redis.exists(KEY)


class Forbidding(Plugin):
    """A lock that is held, and a hook that some arguments do not pass."""

    def guards(self, keys: Keys, job: Enqueuing) -> Sequence[Guard]:
        """Two of them."""
        return [Guard("lock", keys.named("mine"), 60), Guard("absent", keys.named("forbidden"))]

    async def before_enqueue(self, job: Enqueuing) -> bool:
        """Ask for the arguments."""
        return job.args != ["no"]


class Locking(Plugin):
    """The same without a hook."""

    guards = Forbidding.guards


@pytest.mark.parametrize("plugin", [Forbidding, Locking])
async def test_what_is_forbidden_leaves_no_key(
    redis_url: str, redis: Any, plugin: type[Plugin]
) -> None:
    """Nor a lock; and who forbade it is told."""
    await redis.set("resque:forbidden", 1)
    tasks = {"Echo": {"perform": print, "plugins": [plugin()]}}
    async with Queue(redis_url, tasks) as queue:
        job = ("q", "Echo", ["yes"])
        [done] = await queue.enqueued_many([job], once=["order-17"])
        assert (done.refused, bool(done)) == (plugin.__name__, False)
        assert set(await dump(redis)) == {"resque:forbidden"}
        await redis.delete("resque:forbidden")
        [done] = await queue.enqueued_many([job], once=["order-17"])
        assert (done.refused, bool(done), done.id) == (None, True, None)
        [done] = await queue.enqueued_many([job], once=["order-17"])
        assert done.refused == "once"
        if plugin is Forbidding:
            [done] = await queue.enqueued_many([("q", "Echo", ["no"])])
            assert done.refused == "Forbidding"


async def test_what_can_not_be_pushed_leaves_no_key(redis_url: str, redis: Any) -> None:
    """The key goes with the job."""
    await redis.set("resque:queue:q", "text")
    async with Queue(redis_url) as queue:
        with pytest.raises(Exception, match="WRONGTYPE"):
            await queue.enqueue("q", "Echo", once="order-17")
    assert not await redis.exists(KEY)


@pytest.mark.parametrize(
    ("once", "within", "words"),
    [("", 1000, "no key"), (17, 1000, "no key|len"), ("x" * 513, 1000, "513 bytes"),
     ("\ud800", 1000, "surrogate"), ("a", 0, "no time"), ("a", -1, "negative")],
)  # fmt: skip
async def test_a_key_that_can_be_none(
    redis_url: str, redis: Any, once: Any, within: Any, words: str
) -> None:
    """It is refused before anything is written."""
    async with Queue(redis_url) as queue:
        for call in (
            queue.enqueue("q", "Echo", once=once, once_within=within),
            queue.enqueue_at(FAR_MS, "q", "Echo", once=once, once_within=within),
        ):
            with pytest.raises(UsageError, match=words):
                await call
    assert await dump(redis) == {}


def test_without_an_event_loop(redis_url: str) -> None:
    """The synchronous verbs have it too."""
    with SyncQueue(redis_url) as queue:
        assert queue.enqueue("q", "Echo", once="a")
        assert not queue.enqueue("q", "Echo", once="a")
        assert not queue.enqueue_in(60_000, "q", "Echo", once="a")
        assert queue.enqueue_many([("q", "Echo", [])] * 2, once="a") == [True, True]
        assert queue.length("q") == 3
