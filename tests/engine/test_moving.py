"""Jobs that wait go from one queue to another: none is lost, none doubled, whoever wrote them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy import Queue
from resqpy.base.codec import TASK_ID
from resqpy.base.errors import UsageError

FROM, TO = "resque:queue:q", "resque:queue:other"


@pytest.fixture
async def queue(redis_url: str) -> AsyncIterator[Queue]:
    """A queue on the test's Redis."""
    async with Queue(redis_url) as made:
        yield made


async def test_jobs_move_in_their_order_with_their_bytes(queue: Queue, redis: Redis) -> None:
    """Behind what waits there; only the name of the queue changes, and Ruby's jobs have none."""
    await redis.rpush(TO, b"before")
    await redis.rpush(
        FROM, b'{"class":"A","args":[1e5, 18446744073709551616]}',
        b'{"class":"B","queue": "q","args":[{"a":[]}],"more":1.0}', b"no json",
    )  # fmt: skip

    moved = await queue.move("q", "other")

    assert moved == 3
    assert await redis.llen(FROM) == 0
    assert await redis.lrange(TO, 0, -1) == [
        b"before",
        b'{"class":"A","args":[1e5, 18446744073709551616]}',
        b'{"class":"B","queue": "other","args":[{"a":[]}],"more":1.0}',
        b"no json",
    ]
    assert await redis.smembers("resque:queues") == {b"other"}


async def test_jobs_are_chosen(queue: Queue, redis: Redis) -> None:
    """By task and arguments, and so many at the most."""
    await queue.enqueue_many([("q", "ab"[n % 2], [n % 4]) for n in range(2000)])

    by_args = await queue.move("q", "other", class_name="a", args=[2])
    by_class = await queue.move("q", "other", class_name="a", most=7)
    rest = await queue.move("q", "other", most=600)

    assert (by_args, by_class, rest) == (500, 7, 600)
    assert await redis.llen(FROM) + await redis.llen(TO) == 2000


async def test_a_queue_lock_goes_with_its_job(queue: Queue, redis: Redis) -> None:
    """So an equal job may be enqueued here, and not there; an equal one there keeps its own place."""
    await queue.enqueue_many([("q", "one", [1]), ("q", "two", [2])])
    await redis.set("resque:lock:one:q:[1]", 9999999999, ex=100)
    await redis.set("resque:lock:two:q:[2]", 9999999999, ex=100)
    await redis.set("resque:lock:two:other:[2]", 9999999999, ex=100)

    moved = await queue.move("q", "other")

    assert moved == 1
    assert await redis.lrange(FROM, 0, -1) == [b'{"class":"two","queue":"q","args":[2]}']
    assert set(await redis.keys("resque:lock:*")) == {
        b"resque:lock:one:other:[1]", b"resque:lock:two:q:[2]", b"resque:lock:two:other:[2]",
    }  # fmt: skip
    assert await redis.ttl("resque:lock:one:other:[1]") > 90


async def test_tracked_tasks_stay(queue: Queue, redis: Redis) -> None:
    """Their records name their queue; moved, they would be taken for lost."""
    await queue.enqueue("q", "t", [{"a": 1}])
    await redis.rpush(FROM, b'{"class":"t","queue":"q","args":[{"%s":"id"}]}' % TASK_ID.encode())

    assert await queue.move("q", "other") == 1
    assert await redis.llen(FROM) == 1


async def test_nothing_is_lost_while_others_work(queue: Queue, redis: Any) -> None:
    """Others push and pop meanwhile: each job is taken once, in one of both queues."""
    await queue.enqueue_many([("q", "a", [n]) for n in range(3000)])
    taken: list[bytes] = []

    async def work() -> None:
        while raw := await redis.lpop(FROM):
            taken.append(raw)
            await queue.enqueue("q", "b", [len(taken)]) if len(taken) % 10 == 0 else None

    moved, _ = await asyncio.gather(queue.move("q", "other", class_name="a"), work())
    there = await redis.lrange(TO, 0, -1)
    mine = [raw for raw in taken if b'"a"' in raw]

    assert moved == len(there)
    assert len(mine) + len(there) == 3000
    assert {raw.replace(b"other", b"q") for raw in there}.isdisjoint(mine)


async def test_a_wrong_queue_is_refused(queue: Queue, redis: Redis) -> None:
    """The same one, or one that is no list: nothing is moved."""
    await queue.enqueue("q", "a", [])
    await redis.set(TO, "no list")

    with pytest.raises(UsageError, match="'q'"):
        await queue.move("q", "q")
    with pytest.raises(Exception, match="no list"):
        await queue.move("q", "other")
    assert await redis.llen(FROM) == 1
