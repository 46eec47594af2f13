"""Enqueue and delete: what stands in Redis afterwards, and what it costs."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from resqpy.base import codec
from resqpy.base.clock import FixedClock
from resqpy.base.errors import (
    DuplicateDelayedJob,
    InvalidJob,
    InvalidQueueName,
    StoreUnavailable,
    UsageError,
)
from resqpy.base.keys import Keys
from resqpy.engine.plugin import Enqueuing, Plugin
from resqpy.engine.queue.queue import Queue
from resqpy.store.connection.options import RedisOptions
from resqpy.store.queues import Guard
from tests.support.inspecting import dumps, round_trips
from tests.support.recordings import replay
from tests.support.redis_state import dump

NOW_MS = 1_795_220_840_000
LATER_MS = NOW_MS + 60_000


@pytest.fixture
def clock() -> FixedClock:
    """The time of the test."""
    return FixedClock(NOW_MS)


@pytest.fixture
async def queue(redis_url: str, clock: FixedClock) -> AsyncIterator[Queue]:
    """A queue on the test's Redis."""
    async with Queue(redis_url, clock=clock) as made:
        yield made


# -- enqueue --


async def test_enqueue(queue: Queue, redis: Any) -> None:
    """A set of names and a list, with the job as Node writes it."""
    await queue.connect()

    assert await queue.enqueue("q é", "Écho", [1, {"a": []}])

    assert await dump(redis) == {
        "resque:queues": {"q é"},
        "resque:queue:q é": ['{"class":"Écho","queue":"q é","args":[1,{"a":[]}]}'],
    }


async def test_enqueue_costs_one_round_trip(queue: Queue) -> None:
    """A single one, and a thousand; of many at once the first goes ahead of the others."""
    await queue.enqueue("q", "Echo")
    with round_trips(queue.store, 1):
        await queue.enqueue("q", "Echo", [1])
    with round_trips(queue.store, 1):
        assert await queue.enqueue_many([("q", "Echo", [n]) for n in range(1000)]) == [True] * 1000
    with round_trips(queue.store, 2):
        await asyncio.gather(*(queue.enqueue("q", "Echo", [n]) for n in range(100)))


async def test_many_keep_their_order(queue: Queue, redis: Any) -> None:
    """Also beyond the ten thousand of one call, and at the head of the queue each before the last."""
    await queue.enqueue_many([("q", "Echo", [n]) for n in range(10_500)])
    assert await redis.llen("resque:queue:q") == 10_500
    assert b"[10499]" in await redis.lindex("resque:queue:q", -1)

    await queue.enqueue_front("q", "Echo", ["now"])
    await queue.enqueue_many([("q", "Echo", ["a"]), ("q", "Echo", ["b"])], front=True)
    first = await redis.lrange("resque:queue:q", 0, 2)
    assert [item.rpartition(b"[")[2] for item in first] == [b'"b"]}', b'"a"]}', b'"now"]}']


@pytest.mark.parametrize(
    ("job", "error"),
    [
        (("q", "Echo", [object()]), InvalidJob),
        (("q", "", []), InvalidJob),
        (("a,b", "Echo", []), InvalidQueueName),
        (("", "Echo", []), InvalidQueueName),
    ],
)
async def test_all_or_nothing(job: Any, error: type[Exception], queue: Queue, redis: Any) -> None:
    """One bad job, and none of them is written."""
    with pytest.raises(error):
        await queue.enqueue_many([("q", "Echo", [1]), job])
    assert await dump(redis) == {}


@pytest.mark.parametrize(
    "job",
    ["abc", ("q", "Echo"), ("q", "Echo", [], "x"), {"queue": "q", "class": "Echo", "args": []}, 7],
)
async def test_what_is_no_job_among_many(job: Any, queue: Queue, redis: Any) -> None:
    """It is told which of them it is, and what was expected."""
    with pytest.raises(InvalidJob) as caught:
        await queue.enqueue_many([("q", "Echo", [1]), job, ("q", "Echo", [2])])

    told = f"job 1 (of 0 to 2): {job!r} is not (queue, class_name, args); nothing was enqueued"
    assert str(caught.value) == told
    assert await dump(redis) == {}


async def test_which_of_many_is_wrong(queue: Queue, redis: Any) -> None:
    """Also of those that have the right shape."""
    with pytest.raises(InvalidQueueName, match=r"^job 1 \(of 0 to 1\): queue 'a,b': "):
        await queue.enqueue_many([("q", "Echo", [1]), ("a,b", "Echo", [2])])
    with pytest.raises(InvalidQueueName, match=r"^queue 'a,b': "):
        await queue.enqueue("a,b", "Echo", [2])
    assert await dump(redis) == {}


async def test_no_jobs_at_all(queue: Queue) -> None:
    """Nothing is asked of Redis."""
    with round_trips(queue.store, 0):
        assert await queue.enqueue_many([]) == []


async def test_a_namespace_of_parts(redis_url: str, redis: Any) -> None:
    """As in node-resque."""
    options = RedisOptions(url=redis_url, namespace=["tenant", "{resque}"])
    async with Queue(options) as queue:
        await queue.enqueue("q", "Echo")
    assert set(await dump(redis)) == {"tenant:{resque}:queues", "tenant:{resque}:queue:q"}


async def test_redis_is_away() -> None:
    """It is said that nothing was written."""
    async with Queue("redis://127.0.0.1:1") as queue:
        with pytest.raises(StoreUnavailable):
            await queue.enqueue("q", "Echo")


async def test_a_shared_store_stays_open(queue: Queue) -> None:
    """Who was given a connection does not close it."""
    other = Queue(queue.store)
    await other.end()
    assert await queue.enqueue("q", "Echo")


# -- hooks and guards --


class Hook(Plugin):
    """Forbids the argument "no"; notes what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    async def before_enqueue(self, job: Enqueuing) -> bool:
        """Forbid "no"."""
        self.seen.append(("before", job.class_name, job.queue, job.args))
        return job.args != ["no"]

    async def after_enqueue(self, job: Enqueuing) -> None:
        """Note."""
        self.seen.append(("after", job.args))


class Guarded(Plugin):
    """A lock of its own, and a key that must not be there."""

    def guards(self, keys: Keys, job: Enqueuing) -> Sequence[Guard]:
        """Two of them."""
        return [
            Guard("lock", keys.named(f"lock:{job.args}"), 60),
            Guard("absent", keys.named("forbidden")),
        ]


async def test_hooks(redis_url: str, redis: Any) -> None:
    """A veto is False, and what is pushed is told afterwards; other tasks are not asked."""
    hook = Hook()
    async with Queue(redis_url, {"Echo": {"perform": print, "plugins": [hook]}}) as queue:
        jobs = [("q", "Echo", ["yes"]), ("q", "Echo", ["no"]), ("q", "Other", ["no"])]
        assert await queue.enqueue_many(jobs) == [True, False, True]
        assert await queue.enqueue("q", "Echo", ["no"]) is False

    assert hook.seen == [
        ("before", "Echo", "q", ["yes"]), ("before", "Echo", "q", ["no"]), ("after", ["yes"]),
        ("before", "Echo", "q", ["no"]),
    ]  # fmt: skip
    assert await redis.llen("resque:queue:q") == 2


async def test_guards(redis_url: str, redis: Any) -> None:
    """A veto leaves no lock behind, and a lock whose time is over is taken over."""
    async with Queue(redis_url, {"Echo": {"perform": print, "plugins": [Guarded()]}}) as queue:
        assert await queue.enqueue("q", "Echo", [0])
        with round_trips(queue.store, 1):
            assert await queue.enqueue("q", "Echo", [1])
        assert not await queue.enqueue("q", "Echo", [1])
        assert 55 <= await redis.ttl("resque:lock:[1]") <= 60

        await redis.set("resque:forbidden", 1)
        assert not await queue.enqueue("q", "Echo", [2])
        assert await redis.exists("resque:lock:[2]") == 0

        await redis.delete("resque:forbidden")
        await redis.set("resque:lock:[2]", 17)
        assert await queue.enqueue("q", "Echo", [2])
    assert await redis.llen("resque:queue:q") == 3


# -- later --


async def test_enqueue_at(queue: Queue, redis: Any) -> None:
    """All three keys, with the job's own text; the time is rounded up."""
    assert await queue.enqueue_at(LATER_MS + 1, "q", "Echo", [1.0])

    item, second = '{"class":"Echo","queue":"q","args":[1.0]}', str(LATER_MS // 1000 + 1)
    assert await dump(redis) == {
        "resque:delayed_queue_schedule": {second: float(second)},
        f"resque:delayed:{second}": [item],
        f"resque:timestamps:{item}": {f"delayed:{second}"},
    }


async def test_enqueue_in_and_with_a_datetime(queue: Queue) -> None:
    """Milliseconds, a timedelta, an aware datetime: the same second."""
    when = datetime.fromtimestamp(LATER_MS / 1000, UTC)
    await queue.enqueue_in(60_000, "q", "A")
    await queue.enqueue_in(timedelta(minutes=1), "q", "B")
    await queue.enqueue_at(when, "q", "C")
    for name in "ABC":
        assert await queue.del_delayed("q", name) == [LATER_MS]


async def test_a_time_that_is_due(queue: Queue, redis: Any) -> None:
    """Trap 1: the past and now go straight to the queue."""
    await queue.enqueue_at(NOW_MS, "q", "Echo", [1])
    await queue.enqueue_in(0, "q", "Echo", [2])
    assert set(await dump(redis)) == {"resque:queues", "resque:queue:q"}


async def test_seconds_by_mistake(queue: Queue) -> None:
    """The error says what to write."""
    with pytest.raises(UsageError, match=f"use {LATER_MS}"):
        await queue.enqueue_at(LATER_MS // 1000, "q", "Echo")


@pytest.mark.parametrize("shift_ms", [0, -999, 1000, -1000])
@pytest.mark.parametrize(
    "item",
    [
        b'{"class":"A","queue":"q","args":[1.0,1.0e-05]}',
        b'{"class":"A","queue":"q","args":[1,0.00001]}',
        b'{"class":"A","args":[1.0,1.0e-05],"queue":"q"}',
        b'{"class":"A","args":[1.0,0.00001],"queue":"q"}',
    ],
)
async def test_a_duplicate_in_any_spelling(
    item: bytes, shift_ms: int, queue: Queue, redis: Any
) -> None:
    """Trap 18: what Ruby or Node stored for that second or one beside it is the same job."""
    second = LATER_MS // 1000
    await redis.rpush(f"resque:delayed:{second}", item)
    await redis.sadd(b"resque:timestamps:" + item, f"delayed:{second}")
    job = (LATER_MS + shift_ms, "q", "A", [1.0, 1e-5])

    with pytest.raises(DuplicateDelayedJob, match="suppress_duplicate_task_error=True"):
        await queue.enqueue_at(*job)
    assert not await queue.enqueue_at(*job, suppress_duplicate_task_error=True)

    assert await queue.enqueue_at(LATER_MS + 2000, "q", "A", [1.0, 1e-5])
    assert await queue.enqueue_at(LATER_MS, "other", "A", [1.0, 1e-5])


# -- delete --


SPELLED = [
    b'{"class":"A","queue":"q","args":[1.0,{"b":1e-05}]}',
    b'{"class":"A","queue":"q","args":[1,{"b":0.00001}]}',
    b'{"class":"A","args":[1.0,{"b":1.0e-05}]}',
    b'{"class":"A","args":[1.0,{"b":0.00001}]}',
    b'{"class":"A","args":[1.0,{"b":1.0e-05}],"queue":"q"}',
]


@pytest.mark.parametrize(("count", "left"), [(0, 0), (2, 5), (-2, 5), (100, 0), (-100, 0), (1, 6)])
async def test_delete_finds_every_dialect(count: int, left: int, queue: Queue, redis: Any) -> None:
    """All, some from the head, some from the tail; in one round trip."""
    mine = [*SPELLED, SPELLED[0], SPELLED[2]]
    other = b'{"class":"A","args":[2]}'
    await redis.rpush("resque:queue:q", other, *mine, other)
    await queue.delete("q", "loads the script")

    with round_trips(queue.store, 1):
        assert await queue.delete("q", "A", [1.0, {"b": 1e-5}], count) == 7 - left

    assert await redis.llen("resque:queue:q") == left + 2
    assert await redis.lindex("resque:queue:q", 0) == other


async def test_del_by_function(queue: Queue, redis: Any) -> None:
    """Of all dialects; junk and other tasks stay in their order."""
    await redis.rpush("resque:queue:q", b"junk", *SPELLED, b'{"class":"B","args":[]}', b"", b"[1]")

    assert await queue.del_by_function("q", "A") == 5
    assert await queue.del_by_function("q", "A") == 0

    left = await redis.lrange("resque:queue:q", 0, -1)
    assert left == [b"junk", b'{"class":"B","args":[]}', b"", b"[1]"]


async def test_del_by_function_in_a_part(queue: Queue, redis: Any) -> None:
    """Both ends count; positions are those before anything is removed."""
    await queue.enqueue_many([("q", "A" if n % 2 else "B", [n]) for n in range(10)])

    assert await queue.del_by_function("q", "A", 2, 5) == 2
    assert await queue.del_by_function("q", "A", 8) == 0

    left = [item.rpartition(b"[")[2] for item in await redis.lrange("resque:queue:q", 0, -1)]
    assert left == [f"{n}]}}".encode() for n in (0, 1, 2, 4, 6, 7, 8, 9)]
    with pytest.raises(UsageError, match="counts from the end"):
        await queue.del_by_function("q", "A", -5)


async def test_del_by_function_over_many_pages_while_others_work(queue: Queue, redis: Any) -> None:
    """Equal jobs, jobs popped and pushed meanwhile: none of the task is left but new ones."""
    await queue.enqueue_many([("q", "A" if n % 3 else "B", [n % 7]) for n in range(12_000)])

    async def work() -> None:
        for n in range(60):
            await redis.lpop("resque:queue:q", 5)
            await queue.enqueue("q", "A", [f"new {n}"])

    removed, _ = await asyncio.gather(queue.del_by_function("q", "A"), work())

    left = [item for item in await redis.lrange("resque:queue:q", 0, -1) if b'"class":"A"' in item]
    assert all(b"new" in item for item in left)
    assert 7_700 <= removed <= 8_060


async def test_del_queue(queue: Queue, redis: Any) -> None:
    """With its name; how many jobs there were."""
    await queue.enqueue_many([("q", "A", []), ("q", "A", [1]), ("r", "A", [])])
    assert await queue.del_queue("q") == 2
    assert await queue.del_queue("nobody") == 0
    assert set(await dump(redis)) == {"resque:queues", "resque:queue:r"}


async def test_del_delayed_everywhere(queue: Queue, redis: Any) -> None:
    """Each time at which it was, whoever stored it; the index keeps the seconds, as Ruby's does."""
    for n, item in enumerate([SPELLED[1], SPELLED[4]]):
        second = LATER_MS // 1000 + 10 * n
        await redis.rpush(f"resque:delayed:{second}", item, b"other")
        await redis.sadd(b"resque:timestamps:" + item, f"delayed:{second}")
    await queue.enqueue_at(LATER_MS + 50_000, "q", "A", [1.0, {"b": 1e-5}])
    await queue.del_delayed("q", "loads the script")

    with round_trips(queue.store, 1):
        found = await queue.del_delayed("q", "A", [1.0, {"b": 1e-5}])

    assert found == [LATER_MS, LATER_MS + 10_000, LATER_MS + 50_000]
    assert await redis.keys("resque:timestamps:*") == []
    assert await redis.lrange(f"resque:delayed:{LATER_MS // 1000}", 0, -1) == [b"other"]


async def test_del_delayed_at(queue: Queue, redis: Any) -> None:
    """Everything of that second, and its place in the index."""
    await queue.enqueue_at(LATER_MS + 1, "q", "A", [1])
    await queue.enqueue_at(LATER_MS + 1, "q", "B", [2])
    await queue.enqueue_at(LATER_MS + 5000, "q", "B", [2])
    await redis.rpush(f"resque:delayed:{LATER_MS // 1000 + 1}", b"junk")

    assert await queue.del_delayed_at(LATER_MS + 1) == 3
    assert await queue.del_delayed_at(LATER_MS + 1) == 0

    item = dumps({"class": "B", "queue": "q", "args": [2]}).decode()
    second = str(LATER_MS // 1000 + 5)
    assert await dump(redis) == {
        "resque:delayed_queue_schedule": {second: float(second)},
        f"resque:delayed:{second}": [item],
        f"resque:timestamps:{item}": {f"delayed:{second}"},
    }


@pytest.mark.parametrize("name", ["a:b", "with blank", "x" * 512, "🐍"])
async def test_odd_queue_names(name: str, queue: Queue, redis: Any) -> None:
    """They work like any other."""
    assert await queue.enqueue(name, "A", [1])
    assert await queue.enqueue_at(LATER_MS, name, "A", [1])
    assert await queue.del_delayed(name, "A", [1]) == [LATER_MS]
    assert await queue.delete(name, "A", [1]) == 1
    assert await queue.del_queue(name) == 0
    assert await redis.exists("resque:queues") == 0


async def test_jobs_with_rubys_bytes(redis_url: str, redis: Any) -> None:
    """As the recorded `Resque.enqueue` and `enqueue_at` wrote them, which its `dequeue` looks for;
    of other queues as ever.
    """
    options = RedisOptions(redis_url, ruby_queues=["alp*"])
    await replay(redis, "ruby-01-enqueue")
    waiting = await redis.lrange("resque:queue:alpha", 0, -1)
    await redis.flushdb()
    async with Queue(options) as queue:
        for raw in waiting:
            await queue.enqueue("alpha", "ArgsJob", json.loads(raw)["args"])
        assert await redis.lrange("resque:queue:alpha", 0, -1) == waiting
        await queue.enqueue_many([("alpha", "ArgsJob", [1]), ("beta", "ArgsJob", [1])])
        assert await redis.lrange("resque:queue:alpha", -1, -1) == [
            b'{"class":"ArgsJob","args":[1]}'
        ]
        assert (
            await redis.lpop("resque:queue:beta")
            == b'{"class":"ArgsJob","queue":"beta","args":[1]}'
        )

        second = 4_000_000_000
        for args in ([1, "x"], [{"a": 1}], [1.0e15]):
            await queue.enqueue_at(second * 1000, "alpha", "ArgsJob", args)
        item = '{"class":"ArgsJob","args":[1,"x"],"queue":"alpha"}'
        assert await redis.smembers(f"resque:timestamps:{item}") == {f"delayed:{second}".encode()}
        assert await redis.lrange(f"resque:delayed:{second}", 0, -1) == [
            item.encode(),
            b'{"class":"ArgsJob","args":[{"a":1}],"queue":"alpha"}',
            b'{"class":"ArgsJob","args":[1.0e+15],"queue":"alpha"}',
        ]
        assert await queue.del_delayed("alpha", "ArgsJob", [1.0e15]) == [second * 1000]
        assert await queue.delete("alpha", "ArgsJob", [1]) == 1


async def test_what_ends_has_rubys_order_too(redis_url: str, redis: Any) -> None:
    """And is without its end when it is retried by hand."""
    jobs = {"soon": {"perform": print, "expires": 60_000}}
    async with Queue(RedisOptions(redis_url, ruby_queues=["q"]), jobs) as queue:
        await queue.enqueue("q", "soon", [1])
    [raw] = await redis.lrange("resque:queue:q", 0, -1)
    assert re.fullmatch(rb'{"class":"soon","resqpy_expires":\d{13},"args":\[1\]}', raw)
    assert codec.without_ends(raw) == b'{"class":"soon","args":[1]}'


@pytest.mark.parametrize("wrong", ["mail", [""], [7]])
def test_what_is_no_list_of_queues(wrong: Any) -> None:
    """A text would be taken for its letters."""
    with pytest.raises(UsageError, match="ruby_queues"):
        RedisOptions(ruby_queues=wrong)
