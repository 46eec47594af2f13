"""Periodic jobs in the hands of Node's and Ruby's workers, which know nothing of chains."""

from __future__ import annotations

import json
from typing import Any

from tests.support.foreign import NodeDriver, RubyDriver
from tests.support.scheduling import StartScheduler
from tests.support.waiting import wait_for


def task(name: str, **timing: Any) -> Any:
    """A project with one periodic task."""
    return {name: {"perform": print, "queue": "interop", **timing}}


async def ran(redis: Any, count: int) -> Any:
    """What foreign workers ran, if there were so many."""
    raws = await redis.lrange("interop:ran", 0, -1)
    return [json.loads(raw) for raw in raws] if len(raws) >= count else None


async def test_a_chain_worked_by_node(start: StartScheduler, node: NodeDriver, redis: Any) -> None:
    """Node runs it with its arguments; the leader mends the chain within a period, each time."""
    await node.call("worker.start", {"queues": ["interop"], "timeout": 20})
    await start(task("Echo", frequency=1000))
    runs = await wait_for(lambda: ran(redis, 3), timeout=12)
    assert [(run["by"], run["args"]) for run in runs] == [("node", [{}])] * len(runs)
    assert await redis.llen("resque:failed") == 0


async def test_a_long_run_at_node_is_not_doubled(
    start: StartScheduler, node: NodeDriver, redis: Any
) -> None:
    """Its record, as Redis' Lua has written it, is recognized."""
    await node.call("worker.start", {"queues": ["interop"], "timeout": 20})
    await start(task("Sleep", frequency=1000, args=[4000]))
    await wait_for(lambda: redis.keys("resque:worker:*:interop"), timeout=100)
    mended: list[int] = []
    scheduler = await start(task("Sleep", frequency=1000, args=[4000]))
    scheduler.on("re_enqueue", lambda at, _: mended.append(at))
    began = await redis.hget("resque:resqpy:periodic:out", "Sleep")
    assert began is not None
    await wait_for(lambda: _changed(redis, began), timeout=15)
    (run,) = await ran(redis, 1)
    assert run["class"] == "Sleep"


async def _changed(redis: Any, began: bytes) -> bool:
    return bool(await redis.hget("resque:resqpy:periodic:out", "Sleep") not in (began, None))


async def test_cron_worked_by_ruby(start: StartScheduler, ruby: RubyDriver, redis: Any) -> None:
    """The further key of the job harms nobody."""
    await ruby.call("worker.start", {"queues": ["interop"], "fork": False})
    await start(task("Echo", cron="* * * * * *"))
    runs = await wait_for(lambda: ran(redis, 2), timeout=12)
    assert runs[0] == {"by": "ruby", "class": "Echo", "args": [{}]}


async def test_a_failed_one_is_retried_by_node(
    start: StartScheduler, node: NodeDriver, redis: Any
) -> None:
    """Node's retry button makes a job by hand of it; it runs, and the chain is not doubled."""
    await start(task("Fail", frequency=60_000))
    await node.call("worker.start", {"queues": ["interop"], "timeout": 20})
    await wait_for(lambda: redis.llen("resque:failed"), timeout=100)
    (entry,) = [json.loads(raw) for raw in await redis.lrange("resque:failed", 0, -1)]
    assert entry["payload"]["resqpy_at"] > 0
    (failed,) = await node.call("queue.failed", 0, -1)
    await node.call("queue.retryAndRemoveFailed", failed)
    await wait_for(lambda: redis.llen("resque:failed"), timeout=100)
    (entry,) = [json.loads(raw) for raw in await redis.lrange("resque:failed", 0, -1)]
    assert "resqpy_at" not in entry["payload"]
    assert await redis.hlen("resque:resqpy:periodic:out") == 1
