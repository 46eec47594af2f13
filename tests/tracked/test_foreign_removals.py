"""Real Node removes the job under a tracked task: the record ends in the right status, in time."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from resqpy.base.codec import TASK_ID
from resqpy.store.connection.client import Store
from resqpy.tracked import records
from resqpy.tracked.verbs import Tracked
from tests.support.foreign import NodeDriver
from tests.support.waiting import wait_for
from tests.tracked.support import KEYS, known, status_is
from tests.tracked.test_foreign_hands import Shop, _look


@pytest.mark.parametrize("verb", ["del", "delQueue"])
async def test_removed_by_node(
    tracked: Tracked, store: Store, redis: Redis, node: NodeDriver, verb: str
) -> None:
    """A waiting job that Node removes is delivered again; where no attempt is left, or at most once,
    its task ends as a zombie.
    """
    again = await tracked.create("echo", {"a": 1}, queue="interop")
    once = await tracked.create("echo", {"a": 2}, queue="interop", at_most_once=True)
    if verb == "delQueue":
        await node.call("queue.delQueue", "interop")
    else:
        for task, n in ((again, 1), (once, 2)):
            args = [{"a": n, TASK_ID: task.id}]
            assert await node.call("queue.del", "interop", "echo", args) == 1
    assert await redis.llen(KEYS.queue("interop")) == 0
    await asyncio.sleep(0.05)

    await _look(store)

    zombie = await known(tracked, once.id)
    assert zombie.status == "failed"
    assert zombie.error is not None
    assert zombie.error.name == "zombieTaskCleaned"
    assert await redis.lrange(KEYS.queue("interop"), 0, -1) == [records.job_of(again.record)]
    shop = Shop(store)
    async with shop.workshop:
        after = await status_is(tracked, again.id, "completed")
    assert (shop.seen, after.runs) == ([{"a": 1}], 1)


async def test_delayed_job_removed_by_node(
    tracked: Tracked, store: Store, node: NodeDriver
) -> None:
    """A task whose delayed job Node removes runs all the same, after its time."""
    task = await tracked.create("echo", {"a": 1}, queue="interop", delay=400)
    args = [{"a": 1, TASK_ID: task.id}]
    assert await node.call("queue.delDelayed", "interop", "echo", args)
    shop = Shop(store)
    async with shop.workshop:

        async def completed() -> bool:
            await _look(store)
            return (await known(tracked, task.id)).status == "completed"

        await wait_for(completed)
    assert shop.seen == [{"a": 1}]


async def test_failed_entry_removed_by_node(
    tracked: Tracked, store: Store, node: NodeDriver
) -> None:
    """A task whose failed entry Node removes stays failed; its own retry runs it again."""
    shop = Shop(store)
    shop.broken = True
    async with shop.workshop:
        task = await tracked.create("echo", {"a": 1}, queue="interop", retries=0)
        await status_is(tracked, task.id, "failed")
        [entry] = await node.call("queue.failed", 0, -1)
        assert await node.call("queue.removeFailed", entry) == 1
        await _look(store)
        assert (await known(tracked, task.id)).status == "failed"
        shop.broken = False
        await (await known(tracked, task.id)).retry()
        assert (await status_is(tracked, task.id, "completed")).runs == 2
