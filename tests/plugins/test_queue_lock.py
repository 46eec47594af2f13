"""QueueLock on the real Redis: one in the queue, until it is taken."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from resqpy import Queue
from resqpy.engine.definition import define
from resqpy.plugins import QueueLock
from tests.plugins.conftest import MakeStage
from tests.plugins.stage import Gate
from tests.support.redis_state import ttls

LOCK = "resque:lock:job:q:[1]"
ITEM = '{"class":"job","queue":"q","args":[1]}'


def once(perform: Any = print, plugins: tuple[Any, ...] = (), **options: Any) -> Any:
    """A task with QueueLock behind other plugins."""
    return define(
        "job", perform, plugins=[*plugins, "QueueLock"], plugin_options={"QueueLock": options}
    )


async def test_of_equal_jobs_one_is_enqueued(make_stage: MakeStage) -> None:
    """The lock is taken with the push; its value and expiry are node's."""
    stage = make_stage(job=once(lockTimeout=30))

    before = int(time.time())
    assert await stage.queue.enqueue("q", "job", [1]) is True
    assert await stage.queue.enqueue("q", "job", [1]) is False
    assert await stage.queue.enqueue("q", "job", [2]) is True

    left = await stage.left()
    assert left.pop("resque:lock:job:q:[2]") >= str(before + 31)
    assert before + 31 <= int(left.pop(LOCK)) <= time.time() + 31
    assert left == {"resque:queues": {"q"}, "resque:queue:q": [ITEM, ITEM.replace("1", "2")]}
    assert 25_000 < (await ttls(stage.redis))[LOCK] <= 30_000


async def test_many_at_once_meet_one_lock(make_stage: MakeStage) -> None:
    """Equal jobs of one `enqueue_many` are one job too."""
    stage = make_stage(job=once())

    assert await stage.queue.enqueue_many([("q", "job", [1])] * 3) == [True, False, False]


async def test_numbers_are_equal_as_in_javascript(make_stage: MakeStage) -> None:
    """1.0 is 1 to Node, so it is one lock."""
    stage = make_stage(job=once())

    assert await stage.queue.enqueue("q", "job", [1.0]) is True
    assert await stage.queue.enqueue("q", "job", [1]) is False


async def test_the_lock_is_free_before_the_job_runs(make_stage: MakeStage) -> None:
    """While one runs, the next may wait."""
    gate = Gate()
    stage = make_stage(job=once(gate))
    await stage.queue.enqueue("q", "job", [1])

    async with stage.working():
        await gate.entered.wait()
        assert await stage.queue.enqueue("q", "job", [1]) is True
        assert await stage.queue.enqueue("q", "job", [1]) is False
        gate.open.set()
        await stage.until_idle()

    assert await stage.left() == {"resque:queues": {"q"}, "resque:stat:processed": "2"}


@pytest.mark.parametrize("value", ["1", "junk", ""])
async def test_a_lock_that_is_over_or_no_time_is_taken_over(
    make_stage: MakeStage, value: str
) -> None:
    """As in node-resque."""
    stage = make_stage(job=once())
    await stage.redis.set(LOCK, value)

    assert await stage.queue.enqueue("q", "job", [1]) is True
    assert await stage.redis.ttl(LOCK) > 3500


async def test_two_clients_race_for_one_place(make_stage: MakeStage, redis_url: str) -> None:
    """Of many that enqueue equal jobs at once, one succeeds."""
    stage = make_stage(job=once())
    other = Queue(redis_url, stage.jobs)

    replies = await asyncio.gather(
        *(queue.enqueue("q", "job", [1]) for queue in (stage.queue, other) * 20)
    )

    assert replies.count(True) == 1
    assert await stage.redis.llen("resque:queue:q") == 1
    await other.close()


async def test_a_job_that_another_plugin_forbids_frees_the_place(make_stage: MakeStage) -> None:
    """Its job has left the queue, whatever a plugin in front of it decides."""
    stage = make_stage(job=once(plugins=("tests.plugins.customs.Veto",)))
    await stage.queue.enqueue("q", "job", [1])

    await stage.drain()

    assert await stage.left() == {"resque:queues": {"q"}}


async def test_a_job_that_job_lock_delays_can_come_back(make_stage: MakeStage) -> None:
    """JobLock in front of it: the delayed job's place is free, so it is not lost when it is due."""
    stage = make_stage(job=once(plugins=("JobLock",)))
    await stage.redis.set("resque:workerslock:job:q:[1]", "1")
    await stage.queue.enqueue("q", "job", [1])

    await stage.drain()

    left = await stage.left()
    assert LOCK not in left
    assert f"resque:timestamps:{ITEM}" in left


async def test_a_vetoed_job_takes_no_lock(make_stage: MakeStage) -> None:
    """A hook that forbids the enqueueing leaves nothing behind."""
    forbid = ("tests.plugins.customs.Diary",)
    task = define(
        "job",
        print,
        plugins=["QueueLock", *forbid],
        plugin_options={"Diary": {"pages": [], "forbid": "enqueue"}},
    )
    stage = make_stage(job=task)

    assert await stage.queue.enqueue("q", "job", [1]) is False
    assert await stage.left() == {}


async def test_a_job_that_goes_back_takes_its_lock_with_it(make_stage: MakeStage) -> None:
    """A stop puts the job back, and no equal can be put beside it."""
    gate = Gate()
    stage = make_stage(job=once(gate))
    await stage.queue.enqueue("q", "job", [1])

    async with stage.working() as worker:
        await gate.entered.wait()
        await worker.stop_now()

    assert await stage.queue.enqueue("q", "job", [1]) is False
    assert await stage.redis.lrange("resque:queue:q", 0, -1) == [ITEM.encode()]
    assert await stage.redis.ttl(LOCK) > 3500


async def test_a_job_that_goes_back_has_the_lock_of_its_first_arguments(
    make_stage: MakeStage,
) -> None:
    """The task may have changed them meanwhile."""
    gate = Gate()

    async def perform(options: dict[str, int]) -> None:
        options["done"] = 1
        await gate()

    stage = make_stage(job=once(perform))
    await stage.queue.enqueue("q", "job", [{"a": 1}])

    async with stage.working() as worker:
        await gate.entered.wait()
        await worker.stop_now()

    assert await stage.redis.keys("*lock*") == [b'resque:lock:job:q:[{"a":1}]']


@pytest.mark.parametrize("key", ["mine", lambda job: f"mine{job.queue}"[:4]])
async def test_an_own_key_stands_without_the_namespace(make_stage: MakeStage, key: Any) -> None:
    """It is taken at the push and freed before the run."""
    stage = make_stage(job=once(key=key))

    assert await stage.queue.enqueue("q", "job", [1]) is True
    assert await stage.queue.enqueue("q", "job", [2]) is False
    assert await stage.redis.exists("mine")
    await stage.drain()
    assert await stage.left() == {"resque:queues": {"q"}, "resque:stat:processed": "1"}


async def test_each_of_two_locks_is_freed(make_stage: MakeStage) -> None:
    """One of Ruby's beside Node's, and one whose class names its key."""

    async def no_op(_: int) -> None:
        pass

    class OfAll(QueueLock):
        def own_key(self, job: Any) -> str:
            return f"{job.class_name} alone"

    plugins = ["QueueLock", QueueLock({"keys": "ruby"}), OfAll()]
    stage = make_stage(job={"perform": no_op, "plugins": plugins})

    assert await stage.queue.enqueue("q", "job", [1]) is True
    assert (
        await stage.redis.exists("resque:lock:job:q:[1]", "resque:loner:lock:job:1", "job alone")
        == 3
    )
    await stage.drain()
    assert await stage.left() == {"resque:queues": {"q"}, "resque:stat:processed": "1"}


async def test_a_key_function_that_returns_no_name_is_an_error(make_stage: MakeStage) -> None:
    """It is said at the enqueueing, before anything is written."""
    stage = make_stage(job=once(key=lambda _: None))

    with pytest.raises(ValueError, match="key: None"):
        await stage.queue.enqueue("q", "job", [1])
    assert await stage.left() == {}
