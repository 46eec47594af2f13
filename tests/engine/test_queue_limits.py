"""A greatest length for queues: an enqueue beyond it is refused, or waits for room."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from resqpy import Plugin, Queue, QueueFull, RedisOptions, SyncQueue, UsageError
from resqpy.base.errors import InvalidQueueName, StoreError
from tests.support.waiting import wait_for
from tests.support.working import working

MakeQueue = Callable[..., Queue]


def limited(url: str, wait_s: float = 0.0, **limits: int) -> RedisOptions:
    """Options with limits for queues."""
    return RedisOptions(url, queue_limits=limits, full_queue_wait_s=wait_s)


async def test_one_more_than_may_wait(redis_url: str, redis: Any) -> None:
    """It is refused; what is taken makes room; other queues and the head have the same rule or none."""
    async with Queue(limited(redis_url, q=2)) as queue:
        assert await queue.enqueue("q", "C", [1])
        assert await queue.enqueue_front("q", "C", [2])
        for enqueue in (queue.enqueue, queue.enqueue_front):
            with pytest.raises(QueueFull, match="'q' has the 2 jobs") as told:
                await enqueue("q", "C", [3])
            assert (told.value.queue, told.value.limit, told.value.enqueued) == ("q", 2, 0)
        assert await queue.enqueue_many([("other", "C", [n]) for n in range(5)]) == [True] * 5
        await redis.lpop("resque:queue:q")
        assert await queue.enqueue_in(0, "q", "C", [3])
    assert await redis.llen("resque:queue:q") == 2


async def test_many_of_which_some_find_room(redis_url: str, redis: Any) -> None:
    """Those that do are the first of their queue, and it is told how many they are."""
    async with Queue(limited(redis_url, q=3, r=1)) as queue:
        with pytest.raises(QueueFull, match="5 of 8 jobs were enqueued") as told:
            await queue.enqueue_many(
                [
                    *(("q", "C", [n]) for n in range(5)),
                    *(("r", "C", [n]) for n in range(2)),
                    ("s", "C", []),
                ]
            )
    assert told.value.enqueued == 5
    args = [raw[raw.index(b"[") :] for raw in await redis.lrange("resque:queue:q", 0, -1)]
    assert args == [b"[0]}", b"[1]}", b"[2]}"]
    assert await redis.llen("resque:queue:r") == await redis.llen("resque:queue:s") == 1


async def test_many_producers_fill_it_exactly(redis_url: str, redis: Any) -> None:
    """Redis asks in the step that pushes."""
    async with Queue(limited(redis_url, q=50)) as one, Queue(limited(redis_url, q=50)) as two:
        done = await asyncio.gather(
            *(queue.enqueue("q", "C", [n]) for n in range(100) for queue in (one, two)),
            return_exceptions=True,
        )
    assert (done.count(True), sum(isinstance(each, QueueFull) for each in done)) == (50, 150)
    assert await redis.llen("resque:queue:q") == 50


async def test_who_waits_for_room(redis_url: str, redis: Any) -> None:
    """A producer of many is as fast as the worker that takes them; none is lost, and their order stays."""
    ran: list[int] = []
    longest = 0

    async def job(n: int) -> None:
        nonlocal longest
        longest = max(longest, await redis.llen("resque:queue:q"))
        ran.append(n)

    async with Queue(limited(redis_url, 60.0, q=5)) as queue:
        enqueue = asyncio.create_task(queue.enqueue_many([("q", "job", [n]) for n in range(30)]))
        await wait_for(lambda: queue.store.line.round_trips > 2)
        assert (enqueue.done(), await redis.llen("resque:queue:q")) == (False, 5)
        async with working(redis_url, {"job": job}, "q", slots=1):
            assert await enqueue == [True] * 30
            await wait_for(lambda: len(ran) == 30)
    assert (ran, longest <= 5) == ([*range(30)], True)


async def test_a_bulk_far_beyond_the_limit(redis_url: str, redis: Any) -> None:
    """What can't fit is not sent."""
    async with Queue(limited(redis_url, q=10)) as queue:
        await queue.enqueue("q", "C", [0])
        await redis.config_resetstat()
        with pytest.raises(QueueFull, match="9 of 20000 jobs"):
            await queue.enqueue_many([("q", "C", [n]) for n in range(20_000)])
    asked = (await redis.info("commandstats"))["cmdstat_llen"]["calls"]
    assert asked == 10


async def test_room_that_does_not_come(redis_url: str) -> None:
    """When the time is over it is refused."""
    async with Queue(limited(redis_url, 0.1, q=1)) as queue:
        await queue.enqueue("q", "C", [1])
        with pytest.raises(QueueFull, match=r"after 0\.1 s"):
            await queue.enqueue("q", "C", [2])


class Heard(Plugin):
    """Notes what was enqueued."""

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(options)
        self.heard: list[Any] = []

    async def after_enqueue(self, job: Any) -> None:
        """It is there."""
        HEARD.append(job.args)


HEARD: list[Any] = []


async def test_beside_hooks_and_locks(redis_url: str, redis: Any) -> None:
    """Hooks hear of what was enqueued; what found no room has left neither a lock nor the key of its call."""
    HEARD.clear()
    jobs = {"C": {"perform": print, "plugins": [Heard, "QueueLock"]}}
    async with Queue(limited(redis_url, q=1), jobs) as queue:
        with pytest.raises(QueueFull, match="1 of 2"):
            await queue.enqueue_many([("q", "C", [1]), ("q", "C", [2])], once="call")
        assert HEARD == [[1]]
        assert await redis.keys("resque:lock:*") == [b"resque:lock:C:q:[1]"]
        assert not await queue.enqueue("q", "C", [1])  # there is one already, so it needs no room
        await redis.lpop("resque:queue:q")
        assert await queue.enqueue_many([("q", "C", [1]), ("r", "C", [2])], once="call") == [
            False,
            True,
        ]


async def test_a_queue_of_another_kind(redis_url: str, redis: Any) -> None:
    """It is no full one."""
    await redis.set("resque:queue:q", "text")
    async with Queue(limited(redis_url, q=1)) as queue:
        with pytest.raises(StoreError, match="WRONGTYPE"):
            await queue.enqueue("q", "C")


async def test_none_is_as_before(redis_url: str, redis: Any) -> None:
    """Where no limit is set, or none for this queue, no script is run."""
    await redis.config_resetstat()
    for at in (RedisOptions(redis_url), limited(redis_url, other=1)):
        async with Queue(at) as queue:
            await queue.enqueue("q", "C", [1])
            await queue.enqueue_many([("q", "C", [2]), ("r", "C", [2])])
    assert "cmdstat_evalsha" not in await redis.info("commandstats")


def test_for_synchronous_code(redis_url: str) -> None:
    """The same options."""
    with SyncQueue(limited(redis_url, q=1)) as queue:
        assert queue.enqueue("q", "C", [1])
        with pytest.raises(QueueFull):
            queue.enqueue("q", "C", [2])


@pytest.mark.parametrize(
    ("limits", "error"),
    [
        ({"q": 0}, UsageError),
        ({"q": True}, UsageError),
        ({"q": "9"}, UsageError),
        ({"a,b": 9}, InvalidQueueName),
    ],
)
def test_what_is_no_limit(limits: Any, error: type[Exception]) -> None:
    """It is refused with the queue's name."""
    with pytest.raises(error, match=next(iter(limits))):
        RedisOptions(queue_limits=limits)
