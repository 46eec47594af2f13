"""Machines whose clocks are hours off: everything is due by Redis' clock all the same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from resqpy import MultiWorker, Queue, ScalingOptions, Scheduler
from resqpy.base import codec
from resqpy.base.clock import iso_utc
from resqpy.base.foreign_time import moment_of
from resqpy.base.keys import Keys
from resqpy.engine.definition import define
from resqpy.engine.inspect.inspector import Resque
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions
from resqpy.tracked.verbs import Tracked
from tests.support.clocks import HOURS, WrongClock
from tests.support.waiting import wait_for

SCHEDULE = "resque:delayed_queue_schedule"


@pytest.fixture(params=[5 * HOURS, -5 * HOURS], ids=["fast", "slow"])
def wrong(request: pytest.FixtureRequest) -> WrongClock:
    """Both ways of being wrong."""
    return WrongClock(request.param)


@pytest.fixture
async def queue(redis_url: str, wrong: WrongClock) -> AsyncIterator[Queue]:
    """A producer's queue."""
    async with Queue(redis_url, clock=wrong) as made:
        yield made


async def second_of(redis: Any) -> int:
    """Redis' time."""
    return int((await redis.time())[0])


async def due_seconds(redis: Any) -> list[int]:
    """When something is due; the list, its index and its reverse index must agree."""
    seconds = [int(each) for each in await redis.zrange(SCHEDULE, 0, -1)]
    for second in seconds:
        for item in await redis.lrange(f"resque:delayed:{second}", 0, -1):
            assert await redis.sismember(b"resque:timestamps:" + item, f"delayed:{second}")
    return seconds


# -- producers --


async def test_a_job_in_a_minute(queue: Queue, redis: Any) -> None:
    """It is due in a minute, rounded up to a full second."""
    before = await second_of(redis)
    assert await queue.enqueue_in(60_000, "q", "C", [1])
    after = await second_of(redis)
    (due,) = await due_seconds(redis)
    assert before + 60 <= due <= after + 61


@pytest.mark.parametrize("hours", [1, 4])
async def test_a_job_at_a_time(queue: Queue, redis: Any, hours: int) -> None:
    """What lies ahead by Redis' clock is delayed, and what is over by it is enqueued at once."""
    now = await second_of(redis)
    at, past = now + 3600 * hours, now - 3600 * hours
    assert await queue.enqueue_at(at * 1000, "q", "C", ["ahead"])
    assert await queue.enqueue_at(past * 1000, "q", "C", ["over"])
    assert await due_seconds(redis) == [at]
    (job,) = await redis.lrange("resque:queue:q", 0, -1)
    assert codec.decode_job(job, "q").args == ["over"]


async def test_equal_jobs_from_machines_that_disagree(queue: Queue, redis: Any) -> None:
    """The same job in the same second is the same, whichever machine asks for it."""
    async with Queue(queue.store, clock=WrongClock(0)) as right:
        at_ms = (await second_of(redis) + 600) * 1000
        assert await right.enqueue_at(at_ms, "q", "C", [1])
        assert not await queue.enqueue_at(at_ms, "q", "C", [1], suppress_duplicate_task_error=True)
    assert await due_seconds(redis) == [at_ms // 1000]


async def test_no_delay_at_all(queue: Queue, redis: Any) -> None:
    """It goes straight to the queue."""
    assert await queue.enqueue_in(0, "q", "C", [1])
    assert (await redis.llen("resque:queue:q"), await due_seconds(redis)) == (1, [])


# -- workers --


async def broken() -> None:
    """A task."""
    raise ValueError("again")


def worker(url: str, jobs: dict[str, Any], clock: WrongClock) -> MultiWorker:
    """One on queue `q`, with a slot."""
    scaling = ScalingOptions(min_task_processors=1, max_task_processors=1)
    return MultiWorker(url, jobs, "q", scaling=scaling, clock=clock)


@pytest.mark.parametrize("strategy", [None, [60_000], "exponential"])
async def test_a_retry(redis_url: str, redis: Any, wrong: WrongClock, strategy: Any) -> None:
    """It waits for its delay: neither for hours, nor not at all."""
    options = {"retry_limit": 3, "retry_delay": 60_000, "backoff_strategy": strategy}
    task = define("C", broken, plugins=["Retry"], plugin_options={"Retry": options})
    async with Queue(redis_url) as queue:
        await queue.enqueue("q", "C")
    before = await second_of(redis)
    async with worker(redis_url, {"C": task}, wrong):
        await wait_for(lambda: redis.zcard(SCHEDULE))
    (due,) = await due_seconds(redis)
    assert before + 60 <= due <= await second_of(redis) + 61


async def test_a_job_whose_equal_runs(redis_url: str, redis: Any, wrong: WrongClock) -> None:
    """JobLock delays it by what its option says."""
    options = {"enqueue_timeout": 60_000}
    task = define("C", broken, plugins=["JobLock"], plugin_options={"JobLock": options})
    async with Queue(redis_url) as queue:
        await queue.enqueue("q", "C")
    lock = queue.store.keys.job_lock("C", "q", codec.lock_args([]))
    await redis.set(lock, "another's")
    before = await second_of(redis)
    async with worker(redis_url, {"C": task}, wrong):
        await wait_for(lambda: redis.zcard(SCHEDULE))
    (due,) = await due_seconds(redis)
    assert before + 60 <= due <= await second_of(redis) + 61


async def test_a_clock_that_steps_while_a_job_runs(redis_url: str, redis: Any) -> None:
    """The retry is due by Redis' clock, not by either of the machine's times."""
    clock = WrongClock(0)

    async def steps() -> None:
        clock.ahead_ms = -7 * HOURS
        raise ValueError("again")

    options = {"retry_limit": 2, "retry_delay": 60_000}
    task = define("C", steps, plugins=["Retry"], plugin_options={"Retry": options})
    async with Queue(redis_url) as queue:
        await queue.enqueue("q", "C")
    before = await second_of(redis)
    async with worker(redis_url, {"C": task}, clock):
        await wait_for(lambda: redis.zcard(SCHEDULE))
    (due,) = await due_seconds(redis)
    assert before + 60 <= due <= await second_of(redis) + 61


async def test_what_others_read(redis_url: str, redis: Any, wrong: WrongClock) -> None:
    """When a worker and a run began, and when a job failed, by Redis' clock: other programs judge by it
    what is old.
    """
    records: list[bytes] = []

    async def fails() -> None:
        for pattern in ("resque:worker:*:q", "resque:worker:*:started"):
            (key,) = await redis.keys(pattern)
            records.append(await redis.get(key))
        raise ValueError("boo")

    async with Queue(redis_url) as queue:
        await queue.enqueue("q", "C")
    before = await second_of(redis)
    async with worker(redis_url, {"C": define("C", fails)}, wrong):
        await wait_for(lambda: redis.llen("resque:failed"))
    after = await second_of(redis)
    record, started = records
    (entry,) = await redis.lrange("resque:failed", 0, -1)
    written = (json.loads(record)["run_at"], started.decode(), json.loads(entry)["failed_at"])
    for time in written:
        assert before - 1 <= (moment_of(time) or 0) // 1000 <= after + 1, written


# -- schedulers --


async def test_promotion(redis_url: str, redis: Any, wrong: WrongClock) -> None:
    """A scheduler moves what is due by Redis' clock, and nothing else."""
    async with Queue(redis_url) as queue:
        await queue.enqueue_in(3 * HOURS, "q", "C", ["later"])
        await queue.enqueue_in(1, "q", "C", ["now"])
    async with Scheduler(redis_url, clock=wrong):
        await wait_for(lambda: redis.llen("resque:queue:q"))
    (job,) = await redis.lrange("resque:queue:q", 0, -1)
    assert codec.decode_job(job, "q").args == ["now"]
    assert len(await due_seconds(redis)) == 1


async def test_a_periodic_chain(redis_url: str, redis: Any, wrong: WrongClock) -> None:
    """It runs at its pace, on a scheduler and a worker that are both wrong, in opposite ways."""
    ran: list[int] = []

    async def tick(_: Any) -> None:
        ran.append(await second_of(redis))

    jobs = {"C": define("C", tick, queue="q", frequency=1000)}
    async with (
        Scheduler(redis_url, jobs, clock=wrong),
        worker(redis_url, jobs, WrongClock(-wrong.ahead_ms)),
    ):
        await wait_for(lambda: len(ran) >= 3)
    assert 1 <= ran[2] - ran[0] < 60


# -- who looks --


async def test_old_workers(redis_url: str, redis: Any, wrong: WrongClock) -> None:
    """A run is as old as it is by Redis' clock: the young one lives on, the old one is cleaned up."""
    now = await second_of(redis)
    for name, age_s in (("young", 60), ("old", 2 * 3600)):
        worker_id = f"{name}:1:q"
        await redis.sadd("resque:workers", worker_id)
        run_at = iso_utc((now - age_s) * 1_000_000)
        record = {"queue": "q", "run_at": run_at, "payload": {"class": "C", "args": []}}
        await redis.set(f"resque:worker:{worker_id}", json.dumps(record))
        beat = iso_utc((now - age_s) * 1_000_000)
        await redis.hset("resque:workers:heartbeat", worker_id, beat)
    async with Resque(redis_url, clock=wrong) as resque:
        cleaned = await resque.clean_old_workers(HOURS, spare_live=True)
    assert [*cleaned] == ["old:1:q"]
    written = moment_of(cleaned["old:1:q"].failed_at)
    assert written is not None
    assert 0 <= written // 1000 - now < 60


async def test_tracked_tasks_by_status(redis_url: str, redis: Any, wrong: WrongClock) -> None:
    """A client that has just been made finds tasks under the status they have by Redis' clock."""
    store = Store(RedisOptions(redis_url))
    for task_id, delay in (("later", HOURS), ("now", 0)):
        await Tracked(store).create("C", id=task_id, delay=delay)
    for status, found in (("scheduled", ["later"]), ("pending", ["now"])):
        page = await Tracked(store, clock=wrong).query(status=status)
        assert [(each.id, each.status) for each in page.tasks] == [(found[0], status)]
        assert await Tracked(store, clock=wrong).count(status=status, tags=[]) == 1
    await store.close()


# -- locks --


async def test_the_value_of_a_job_lock(redis_url: str, redis: Any, wrong: WrongClock) -> None:
    """It is the second at which the lock is over by Redis' clock, for who reads it."""
    values: list[int] = []
    lock = Keys().job_lock("C", "q", codec.lock_args([]))

    async def look() -> None:
        values.append(int(await redis.get(lock)))

    task = define("C", look, plugins=["JobLock"], plugin_options={"JobLock": {"lockTimeout": 600}})
    async with Queue(redis_url) as queue:
        await queue.enqueue("q", "C")
    before = await second_of(redis)
    async with worker(redis_url, {"C": task}, wrong):
        await wait_for(lambda: values)
    assert before + 600 <= values[0] <= await second_of(redis) + 602


async def test_the_lock_of_a_job_that_goes_back(
    redis_url: str, redis: Any, wrong: WrongClock
) -> None:
    """A QueueLock that goes with its job shuts out its equal for its time, not for hours more or not
    at all.
    """
    begun = asyncio.Event()

    async def wait() -> None:
        begun.set()
        await asyncio.sleep(60)

    options = {"QueueLock": {"lock_timeout": 600}}
    jobs = {"C": define("C", wait, plugins=["QueueLock"], plugin_options=options)}
    before = await second_of(redis)
    async with Queue(redis_url, jobs) as queue:
        await queue.enqueue("q", "C")
        made = worker(redis_url, jobs, wrong)
        await made.start()
        await begun.wait()
        await made.stop(0)
        assert await redis.llen("resque:queue:q") == 1
        assert not await queue.enqueue("q", "C")
    lock = Keys().queue_lock("C", "q", codec.lock_args([]))
    assert before + 600 <= int(await redis.get(lock)) <= await second_of(redis) + 602
