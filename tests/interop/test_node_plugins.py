"""Locks and counts of the plugins hold across the border: the real node-resque on the other side."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from resqpy import Queue, Worker
from resqpy.engine.definition import define
from tests.interop.test_drivers import ran
from tests.plugins.conftest import MakeStage
from tests.plugins.stage import Gate, Stage, wait_until
from tests.support.foreign import NodeDriver
from tests.support.redis_state import ttls

ARGS = [1.0, "é b", {"b": 2, "10": [], "9": None}, None, 1e21, 1e-7, True]
# The arguments as they stand in the names of locks.
TEXT = '[1,"é b",{"9":null,"10":[],"b":2},null,1e+21,1e-7,true]'


async def define_in_node(
    node: NodeDriver, *plugins: str, perform: str = "echo", **options: Any
) -> None:
    """A class `job` over there, with plugins and the options of the last."""
    await node.call(
        "define",
        {
            "name": "job",
            "perform": perform,
            "plugins": plugins,
            "pluginOptions": {plugins[-1]: options},
        },
    )


def job(perform: Any, *plugins: str, **options: Any) -> Any:
    """The same here."""
    return define("job", perform, plugins=plugins, plugin_options={plugins[-1]: options})


# -- QueueLock --


async def test_a_queue_lock_of_node_s_forbids_ours(node: NodeDriver, make_stage: MakeStage) -> None:
    """The same key for the same job, however its numbers are written."""
    await define_in_node(node, "QueueLock")
    stage = make_stage(job=job(print, "QueueLock"))

    assert await node.call("queue.enqueue", "q", "job", ARGS) is True

    assert await stage.redis.keys("resque:lock:*") == [f"resque:lock:job:q:{TEXT}".encode()]
    assert await stage.queue.enqueue("q", "job", ARGS) is False
    assert await stage.queue.enqueue("q", "job", [2]) is True


async def test_a_queue_lock_of_ours_forbids_node_s(node: NodeDriver, make_stage: MakeStage) -> None:
    """And its form is Node's: compare two of them."""
    await define_in_node(node, "QueueLock", lockTimeout=100)
    stage = make_stage(job=job(print, "QueueLock", lockTimeout=100))

    assert await stage.queue.enqueue("q", "job", ARGS) is True
    assert await node.call("queue.enqueue", "q", "job", ARGS) is False
    assert await node.call("queue.enqueue", "q", "job", [2]) is True

    ours, theirs = f"resque:lock:job:q:{TEXT}", "resque:lock:job:q:[2]"
    values = [int(await stage.redis.get(key)) for key in (ours, theirs)]
    assert 0 <= values[1] - values[0] <= 2
    expiries = await ttls(stage.redis)
    assert abs(expiries[ours] - expiries[theirs]) < 2000
    assert set(await node.call("queue.locks")) == {
        key.removeprefix("resque:") for key in (ours, theirs)
    }


@pytest.mark.parametrize("ours_first", [True, False])
async def test_who_works_the_job_frees_the_place(
    node: NodeDriver,
    make_stage: MakeStage,
    ours_first: bool,
) -> None:
    """A lock that one side took is freed by the other, when it takes the job."""
    await define_in_node(node, "QueueLock")
    stage = make_stage(job=job(lambda *_: None, "QueueLock"))

    if ours_first:
        await stage.queue.enqueue("q", "job", ARGS)
        await node.call("worker.start", {"queues": ["q"]})
        await node.wait_event("success")
    else:
        await node.call("queue.enqueue", "q", "job", ARGS)
        await stage.drain()

    assert await stage.redis.keys("*lock:*") == []
    assert await stage.queue.enqueue("q", "job", ARGS) is True


async def test_both_race_for_one_place(node: NodeDriver, make_stage: MakeStage) -> None:
    """Of equal jobs that both sides enqueue at once, one is in the queue."""
    await define_in_node(node, "QueueLock")
    stage = make_stage(job=job(print, "QueueLock"))

    for n in range(30):
        replies = await asyncio.gather(
            node.call("queue.enqueue", "q", "job", [n]), stage.queue.enqueue("q", "job", [n])
        )
        assert sorted(replies) == [False, True]

    assert await stage.redis.llen("resque:queue:q") == 30


# -- DelayQueueLock --


async def test_a_job_that_node_delayed_is_not_enqueued_here(
    node: NodeDriver,
    make_stage: MakeStage,
) -> None:
    """Found in Node's spelling."""
    await define_in_node(node, "DelayQueueLock")
    stage = make_stage(job=job(print, "DelayQueueLock"))

    await node.call("queue.enqueueIn", 60_000, "q", "job", ARGS)

    assert await stage.queue.enqueue("q", "job", ARGS) is False
    assert await stage.queue.enqueue("q", "job", [2]) is True


async def test_a_job_that_we_delayed_is_not_enqueued_there(
    node: NodeDriver,
    make_stage: MakeStage,
) -> None:
    """Node looks for its own spelling only; where numbers are written alike, it finds ours."""
    await define_in_node(node, "DelayQueueLock")
    stage = make_stage(job=job(print, "DelayQueueLock"))

    await stage.queue.enqueue_in(60_000, "q", "job", [1, "é", {"a": 0.5}])

    assert await node.call("queue.enqueue", "q", "job", [1, "é", {"a": 0.5}]) is False
    assert await node.call("queue.enqueue", "q", "job", [2]) is True


# -- JobLock --


async def test_a_job_that_runs_in_node_blocks_ours(node: NodeDriver, make_stage: MakeStage) -> None:
    """Ours is delayed and Node's lock is left alone, until Node frees it."""
    await define_in_node(node, "JobLock", perform="sleep")
    stage = make_stage(job=job(print, "JobLock", enqueueTimeout=60_000))
    await node.call("queue.enqueue", "q", "job", [5000])
    await node.call("worker.start", {"queues": ["q"]})
    await node.wait_event("job")
    lock = "resque:workerslock:job:q:[5000]"
    await _until(stage, lock)

    async with stage.working():
        await stage.queue.enqueue("q", "job", [5000])
        await _until(stage, "resque:delayed_queue_schedule")
    assert await stage.redis.exists(lock)
    await node.wait_event("success")
    assert not await stage.redis.exists(lock)
    assert [name for name, _ in stage.events] in (["re_enqueue"], [])
    assert await stage.redis.llen("resque:failed") == 0


async def test_a_job_that_runs_here_blocks_node_s(node: NodeDriver, make_stage: MakeStage) -> None:
    """Node delays its copy and leaves our lock alone."""
    await define_in_node(node, "JobLock", enqueueTimeout=60_000)
    gate = Gate()
    stage = make_stage(job=job(gate, "JobLock"))
    await stage.queue.enqueue("q", "job", ARGS)
    lock = f"resque:workerslock:job:q:{TEXT}"

    async with stage.working() as worker:
        await gate.entered.wait()
        value = await stage.redis.get(lock)
        worker.pause()
        await node.call("queue.enqueue", "q", "job", ARGS)
        await node.call("worker.start", {"queues": ["q"]})
        await _until(stage, "resque:delayed_queue_schedule")
        await node.call("worker.stop")
        assert await stage.redis.get(lock) == value
        gate.open.set()
        await stage.until_idle()

    assert await ran(stage.redis) == []
    assert not await stage.redis.exists(lock)
    assert abs(int(value) - time.time() - 3601) < 5


# -- Retry --


async def test_the_count_of_attempts_is_shared(node: NodeDriver, make_stage: MakeStage) -> None:
    """Node fails first, then we, then Node: it gives up at the third, as its limit says."""
    options = {"retryLimit": 3, "retryDelay": 60_000}
    await define_in_node(node, "Retry", perform="fail", **options)

    def fail(*_: Any) -> None:
        raise ValueError("here")

    stage = make_stage(job=job(fail, "Retry", **options))
    count = 'resque:resque-retry:job:1-éb-{"9":null,"10":[],"b":2}-null-1e+21-1e-7-true'
    failure = count.replace("resque:resque-retry", "resque:failure-resque-retry")
    await node.call("queue.enqueue", "q", "job", ARGS)

    # Node's attempt
    await _node_works(node)
    assert await stage.redis.get(count) == b"0"
    theirs = json.loads(await stage.redis.get(failure))
    await stage.come_due()
    # ours
    await stage.drain()
    assert await stage.redis.get(count) == b"1"
    ours = json.loads(await stage.redis.get(failure))
    [(name, info)] = stage.events
    assert (name, info["delay"], info["remaining_attempts"]) == ("re_enqueue", 60_000, 1)
    assert list(ours) == list(theirs)
    assert [type(value) for value in ours.values()] == [type(value) for value in theirs.values()]
    assert (ours["payload"], ours["worker"], ours["queue"]) == (ARGS, "job", "q")
    await stage.come_due()
    # Node's again
    await node.call("worker.start", {"queues": ["q"]})
    await node.wait_event("failure")
    assert await stage.redis.llen("resque:failed") == 1
    assert await stage.redis.keys("*retry*") == []


async def test_our_success_forgets_node_s_count(node: NodeDriver, make_stage: MakeStage) -> None:
    """Both keys are gone."""
    await define_in_node(node, "Retry", perform="fail", retryLimit=3, retryDelay=60_000)
    stage = make_stage(job=job(lambda *_: None, "Retry", retryLimit=3))
    await node.call("queue.enqueue", "q", "job", ARGS)
    await _node_works(node)
    assert len(await stage.redis.keys("*retry*")) == 2

    await stage.come_due()
    await stage.drain()

    assert await stage.redis.keys("*retry*") == []


async def test_node_s_success_forgets_ours(node: NodeDriver, make_stage: MakeStage) -> None:
    """The same the other way round, also without arguments."""

    def fail(*_: Any) -> None:
        raise ValueError("here")

    await define_in_node(node, "Retry", retryLimit=3)
    stage = make_stage(job=job(fail, "Retry", retryLimit=3))
    for args in (ARGS, []):
        await stage.queue.enqueue("q", "job", args)
        await stage.drain()
        assert len(await stage.redis.keys("*retry*")) == 2
        await stage.come_due()
        await _node_works(node)
        assert await stage.redis.keys("*retry*") == []


# -- Noop --


async def test_noop_leaves_no_failed_entry_on_either_side(
    node: NodeDriver, redis_url: str, redis: Any
) -> None:
    """A job that fails counts as processed, in Node and here."""
    await define_in_node(node, "Noop", perform="fail")
    queue = Queue(redis_url)
    await queue.enqueue("q", "job", ["boo"])
    await _node_works(node)
    assert await redis.get("resque:stat:processed") == b"1"

    told: list[str] = []
    worker = Worker(
        redis_url, {"job": job(_boo, "Noop", logger=lambda e: told.append(str(e)))}, "q"
    )
    async with worker:
        await node.call("queue.enqueue", "q", "job", ["boo"])

        async def both() -> bool:
            return bool(await redis.get("resque:stat:processed") == b"2")

        await wait_until(both)
    await queue.close()
    assert told == ["boo"]
    assert await redis.llen("resque:failed") == 0


def _boo(message: str) -> None:
    raise ValueError(message)


async def _node_works(node: NodeDriver) -> None:
    """One job, successful in Node's eyes (a retried one is)."""
    await node.call("worker.start", {"queues": ["q"]})
    await node.wait_event("success")
    await node.call("worker.stop")


async def _until(stage: Stage, key: str) -> None:
    async def there() -> bool:
        return bool(await stage.redis.exists(key))

    await wait_until(there)
