"""The drivers of the foreign sides work by themselves: Node with Node, Ruby with Ruby."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.support.foreign import (
    ForeignDied,
    ForeignError,
    NodeDriver,
    RubyDriver,
    StartNode,
    Target,
)
from tests.support.waiting import wait_for


async def ran(redis: Any) -> list[dict[str, Any]]:
    """Read what the foreign jobs recorded."""
    return [json.loads(entry) for entry in await redis.lrange("interop:ran", 0, -1)]


def test_a_target_is_read_from_both_kinds_of_url() -> None:
    """A unix socket and a host, each with its database."""
    assert Target.from_url("unix:///run/r.sock?db=3") == Target(socket="/run/r.sock", db=3)
    assert Target.from_url("redis://u:p%40@h:7/2") == Target(
        host="h", port=7, db=2, username="u", password="p@"
    )


async def test_node_works_what_node_enqueued(node: NodeDriver, redis: Any) -> None:
    """A job goes in, is run with its arguments, and the events say so."""
    # Given
    await node.call("queue.enqueue", "interop", "Echo", [1, "é", {"a": []}])
    # When
    await node.call("worker.start", {"queues": ["interop"]})
    event = await node.wait_event("success")
    # Then
    job = {"class": "Echo", "queue": "interop", "args": [1, "é", {"a": []}]}
    assert (event.role, event.handle, event.args[:2]) == ("worker", "worker", ["interop", job])
    assert await ran(redis) == [{"by": "node", "class": "Echo", "args": [1, "é", {"a": []}]}]


async def test_node_failures_are_listed_and_errors_come_back(node: NodeDriver) -> None:
    """A failed job is an event and an entry; a failed call raises here."""
    await node.call("worker.start", {})
    await node.call("queue.enqueue", "interop", "Fail", ["boo"])
    event = await node.wait_event("failure")
    [entry] = await node.call("queue.failed", 0, -1)
    assert event.args[2] == {"name": "Error", "message": "boo"}
    assert entry["error"] == "boo"
    with pytest.raises(ForeignError, match="not in failed queue"):
        await node.call("queue.retryAndRemoveFailed", {**entry, "error": "other"})


async def test_node_plugins_are_defined_by_name(node: NodeDriver, redis: Any) -> None:
    """A job with a plugin and its options keeps the lock that they ask for."""
    options = {"QueueLock": {"lockTimeout": 30}}
    spec = {"name": "Mine", "perform": "echo", "plugins": ["QueueLock"], "pluginOptions": options}
    await node.call("define", spec)
    assert await node.call("queue.enqueue", "interop", "Mine", [1]) is True
    assert await node.call("queue.enqueue", "interop", "Mine", [1]) is False
    assert 25 <= await redis.ttl("resque:lock:Mine:interop:[1]") <= 30


async def test_node_multi_worker_drains_and_leaves(node: NodeDriver, redis: Any) -> None:
    """Many workers in one process share a queue; stopping unregisters all of them."""
    assert await node.call("enqueueAll", "interop", "Echo", [[n] for n in range(50)]) == 50
    await node.call("multiWorker.start", {"min": 3, "max": 3, "queues": ["interop"]})
    for _ in range(50):
        await node.wait_event("success")
    await node.call("multiWorker.stop")
    assert sorted(entry["args"][0] for entry in await ran(redis)) == list(range(50))
    assert await redis.smembers("resque:workers") == set()


async def test_node_scheduler_leads_and_promotes(node: NodeDriver) -> None:
    """The scheduler of the driver becomes leader and moves a job that is due."""
    await node.call("queue.enqueueAt", 1000, "interop", "Echo", [1])
    await node.call("scheduler.start", {"name": "me"})
    event = await node.wait_event("transferredJob")
    assert event.args[1]["class"] == "Echo"
    assert await node.call("queue.leader") == "me"
    await node.call("scheduler.stop")
    assert await node.call("queue.leader") is None


async def test_node_performs_inline(node: NodeDriver) -> None:
    """`performInline` returns what the job returns, and throws what it throws."""
    assert await node.call("worker.performInline", "Echo", [1, 2]) == [1, 2]
    with pytest.raises(ForeignError, match="boo"):
        await node.call("worker.performInline", "Fail", ["boo"])


async def test_a_killed_node_says_so(start_node: StartNode) -> None:
    """After a kill calls fail at once; a frozen process goes on where it was."""
    node = await start_node()
    node.freeze()
    answer = asyncio.create_task(node.call("ping"))
    await asyncio.sleep(0.05)
    assert not answer.done()
    node.thaw()
    assert await answer == "pong"
    await node.kill()
    with pytest.raises(ForeignDied, match=r"ended \(-9\)"):
        await node.call("ping")


async def test_ruby_works_what_ruby_enqueued(ruby: RubyDriver, redis: Any) -> None:
    """A forking worker runs one job, records it, and fails another."""
    await ruby.call("enqueue_to", "interop", "Echo", [1, "é", {"a": []}])
    await ruby.call("enqueue_to", "interop", "Fail", ["boo"])
    assert await ruby.call("worker.drain", {"queues": ["interop"]}) == 0
    [entry] = await ruby.call("failure.all")
    assert await ran(redis) == [{"by": "ruby", "class": "Echo", "args": [1, "é", {"a": []}]}]
    assert (entry["exception"], entry["error"]) == ("RuntimeError", "boo")


async def test_ruby_worker_is_seen_and_stopped(ruby: RubyDriver, redis: Any) -> None:
    """A worker in its own process is listed, works, and unregisters on QUIT."""
    started = await ruby.call("worker.start", {"queues": ["a", "b"], "fork": False})
    [worker] = await ruby.call("workers")
    assert (worker["id"], worker["queues"]) == (started["id"], ["a", "b"])
    assert await ruby.call("worker.stop", started["pid"]) == 0
    assert await redis.smembers("resque:workers") == set()


async def test_ruby_scheduler_promotes(ruby_scheduler: RubyDriver, redis: Any) -> None:
    """resque-scheduler in its own process moves a job that comes due."""
    item = '{"class":"Echo","args":[1],"queue":"interop"}'
    await redis.rpush("resque:delayed:1000", item)
    await redis.sadd(f"resque:timestamps:{item}", "delayed:1000")
    await redis.zadd("resque:delayed_queue_schedule", {"1000": 1000})
    await ruby_scheduler.call("scheduler.start", {"interval": 0.05})
    await wait_for(lambda: ruby_scheduler.call("size", "interop"))
    assert await ruby_scheduler.call("peek", "interop") == [{"class": "Echo", "args": [1]}]
    assert await ruby_scheduler.call("delayed.count") == 0
