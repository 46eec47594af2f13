"""Our scheduler and node-resque's on one Redis: one leads, and jobs go back and forth."""

from __future__ import annotations

import json
import time
from typing import Any

from resqpy import Snooze, current_run
from resqpy.engine.definition import define
from resqpy.engine.queue.queue import Queue
from tests.plugins.conftest import MakeStage
from tests.support.foreign import NodeDriver, StartNode
from tests.support.scheduling import StartScheduler
from tests.support.waiting import wait_for


async def ran(redis: Any) -> list[dict[str, Any]]:
    """What the Node workers recorded."""
    return [json.loads(entry) for entry in await redis.lrange("interop:ran", 0, -1)]


async def test_node_follows_while_we_lead_and_takes_over_when_we_stop(
    start: StartScheduler, node: NodeDriver, redis: Any
) -> None:
    """Node's scheduler never promotes while the lock is ours."""
    ours = await start()
    await wait_for(lambda: ours.promoting)
    name = (await node.call("scheduler.start", {"timeout": 20}))["name"]
    await redis.zadd("resque:delayed_queue_schedule", {"1000": 1000})
    await wait_for(lambda: _gone(redis))

    assert not await node.call("scheduler.leader")
    assert await node.call("queue.leader") == ours.name + "/1"
    await ours.stop()
    await node.wait_event("leader")
    assert await node.call("queue.leader") == name


async def _gone(redis: Any) -> Any:
    return not await redis.exists("resque:delayed_queue_schedule")


async def test_we_wait_with_promotion_while_node_leads(
    start: StartScheduler, node: NodeDriver, redis: Any
) -> None:
    """We lead among ourselves, know who promotes, and take over when Node ends."""
    name = (await node.call("scheduler.start", {"timeout": 20}))["name"]
    await node.wait_event("leader")

    ours = await start()

    await wait_for(lambda: ours.leader)
    assert (ours.promoting, ours.foreign_leader) == (False, name)
    assert await redis.exists("resque:resque:resque_scheduler_master_lock") == 0
    await node.call("scheduler.stop")
    await wait_for(lambda: ours.promoting)
    assert ours.foreign_leader is None


async def test_a_killed_node_leader_is_replaced_when_its_lock_is_over(
    start: StartScheduler, start_node: StartNode
) -> None:
    """Its lock is not ours to take: it may only be frozen."""
    node = await start_node()
    await node.call("scheduler.start", {"timeout": 20, "leaderLockTimeout": 1})
    await node.wait_event("leader")
    ours = await start()
    await node.kill()

    await wait_for(lambda: ours.leader)
    assert not ours.promoting
    await wait_for(lambda: ours.promoting)


async def test_delayed_by_node_promoted_by_us_worked_by_node(
    start: StartScheduler, node: NodeDriver, redis: Any
) -> None:
    """Node's bytes reach Node's worker as they were."""
    args = [1.5, "é \u2028", {"b": [], "a": None}]
    await node.call("queue.enqueueAt", 1_000_000, "interop", "Echo", args)
    await node.call("queue.enqueueIn", 1000, "interop", "Echo", ["later"])
    ours = await start()
    seen: list[Any] = []
    ours.on("transferred_job", lambda second, job: seen.append((second, job)))

    await node.call("worker.start", {"queues": ["interop"]})

    await wait_for(lambda: redis.llen("interop:ran"))
    await wait_for(lambda: len(seen) == 2)
    await node.wait_event("success", where=lambda event: event.args[1]["args"] == ["later"])
    assert [entry["args"] for entry in await ran(redis)] == [args, ["later"]]
    assert seen[0] == (1000, {"class": "Echo", "queue": "interop", "args": args})
    keys = await redis.keys("resque:delayed*") + await redis.keys("resque:timestamps:*")
    assert keys == []


async def test_delayed_by_us_promoted_and_worked_by_node(
    node: NodeDriver, redis: Any, redis_url: str
) -> None:
    """Node finds it, moves it and runs it."""
    async with Queue(redis_url) as queue:
        await queue.enqueue_in(500, "interop", "Echo", [{"a": 1}, "é"])
    assert len(await node.call("queue.scheduledAt", "interop", "Echo", [{"a": 1}, "é"])) == 1
    await node.call("scheduler.start", {"timeout": 20})
    await node.call("worker.start", {"queues": ["interop"]})

    await node.wait_event("success")

    assert [entry["args"] for entry in await ran(redis)] == [[{"a": 1}, "é"]]


async def test_snoozed_by_us_promoted_by_node(
    node: NodeDriver, redis: Any, make_stage: MakeStage
) -> None:
    """A plain delayed job, which Node finds by its arguments; it writes the same bytes, so our count holds."""
    seen: list[int] = []

    async def job(*_: Any) -> None:
        seen.append(current_run.get().snoozed)
        raise Snooze(1000, most=2)

    args = [{"a": 1}, "é", 1.5]
    stage = make_stage(job=define("job", job))
    await stage.queue.enqueue("q", "job", args)
    async with stage.working():
        await wait_for(lambda: len(stage.events) == 1)
        assert len(await node.call("queue.scheduledAt", "q", "job", args)) == 1
        await node.call("scheduler.start", {"timeout": 20})
        await wait_for(lambda: len(stage.events) == 3)

    assert seen == [0, 1, 2]
    assert [name for name, _ in stage.events] == ["snoozed", "snoozed", "failure"]


async def test_deletions_across(
    start: StartScheduler, node: NodeDriver, redis: Any, redis_url: str
) -> None:
    """What one side delayed the other deletes; the seconds left in the index are cleaned."""
    due_ms = (int(time.time()) + 2) * 1000
    async with Queue(redis_url) as queue:
        await node.call("queue.enqueueAt", due_ms, "interop", "Echo", ["node's"])
        await queue.enqueue_at(due_ms, "interop", "Echo", ["ours"])
        assert await queue.del_delayed("interop", "Echo", ["node's"]) == [due_ms]
        assert await node.call("queue.delDelayed", "interop", "Echo", ["ours"]) == [due_ms // 1000]
    assert await redis.zcard("resque:delayed_queue_schedule") == 1

    await start()

    await wait_for(lambda: _gone(redis))
    assert await redis.exists("resque:queue:interop") == 0
