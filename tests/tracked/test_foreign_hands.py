"""Foreign hands on tracked tasks: whatever real Node, or Ruby by its recorded bytes, does with the
job, the task ends with its own record in the right status.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy.base import codec
from resqpy.base.codec import TASK_ID
from resqpy.base.json_rules import replace_member
from resqpy.store.connection.client import Store
from resqpy.tracked import records
from resqpy.tracked.recovery import TrackedChore
from resqpy.tracked.verbs import Tracked
from tests.support.foreign import NodeDriver, RubyDriver
from tests.support.recordings import load_recorded
from tests.support.waiting import wait_for
from tests.tracked.support import KEYS, Workshop, known, status_is


class Shop:
    """Jobs that note what they were given."""

    def __init__(self, store: Store) -> None:
        self.seen: list[Any] = []
        self.broken = False
        self.workshop = Workshop(
            store, {"echo": self._echo, "ArgsJob": self._echo}, queues="interop"
        )

    async def _echo(self, payload: Any) -> Any:
        self.seen.append(payload)
        if self.broken:
            raise ValueError("broken for now")
        return payload


async def test_promoted_by_node(tracked: Tracked, store: Store, node: NodeDriver) -> None:
    """A scheduled task whose delayed job is promoted by node-resque's scheduler runs and completes."""
    await node.call("scheduler.start")
    shop = Shop(store)
    async with shop.workshop:
        task = await tracked.create("echo", {"a": [1.0, "ä"]}, queue="interop", delay=900)
        assert task.status == "scheduled"
        after = await status_is(tracked, task.id, "completed")
    assert shop.seen == [{"a": [1.0, "ä"]}]
    assert (after.runs, after.result) == (1, {"a": [1.0, "ä"]})


async def test_retried_by_node(tracked: Tracked, store: Store, node: NodeDriver) -> None:
    """A failed task that node-resque's `retryAndRemoveFailed` puts back runs once more."""
    shop = Shop(store)
    shop.broken = True
    async with shop.workshop:
        task = await tracked.create("echo", {"a": 1}, queue="interop", retries=0)
        failed = await status_is(tracked, task.id, "failed")
        assert failed.error is not None
        assert (failed.error.name, failed.error.message) == ("ValueError", "broken for now")
        [entry] = await node.call("queue.failed", 0, -1)
        assert entry["payload"]["args"] == [{"a": 1, TASK_ID: task.id}]
        shop.broken = False
        await node.call("queue.retryAndRemoveFailed", entry)
        after = await status_is(tracked, task.id, "completed")
    assert shop.seen == [{"a": 1}, {"a": 1}]
    assert (after.runs, after.error) == (2, None)
    assert await node.call("queue.failedCount") == 0


async def test_a_stale_job_of_a_failed_task(
    tracked: Tracked,
    store: Store,
    redis: Redis,
) -> None:
    """A second copy of a failed task's job is dropped while its failed entry is still there."""
    shop = Shop(store)
    shop.broken = True
    async with shop.workshop:
        task = await tracked.create("echo", queue="interop", at_most_once=True)
        await status_is(tracked, task.id, "failed")
        await redis.rpush(KEYS.queue("interop"), records.job_of(task.record))
        await wait_for(lambda: _empty(redis))
        await wait_for(lambda: not shop.workshop.worker.pool.slots.busy)
    assert len(shop.seen) == 1
    assert (await known(tracked, task.id)).status == "failed"
    assert await redis.llen(KEYS.failed) == 1


async def _empty(redis: Redis) -> bool:
    return await redis.llen(KEYS.queue("interop")) == 0


async def test_pushed_by_hand(
    tracked: Tracked, store: Store, redis: Redis, node: NodeDriver
) -> None:
    """A job that Node enqueues with class, queue and args alone runs its task; a copy changes
    nothing.
    """
    task = await tracked.create("echo", {"a": 1}, queue="interop")
    await redis.delete(KEYS.queue("interop"))
    args = [{TASK_ID: task.id, "a": 1}]
    await node.call("queue.enqueue", "interop", "echo", args)
    await node.call("queue.enqueue", "interop", "echo", args)
    shop = Shop(store)
    async with shop.workshop:
        await status_is(tracked, task.id, "completed")
        await wait_for(lambda: _empty(redis))
        await wait_for(lambda: not shop.workshop.worker.pool.slots.busy)
    assert len(shop.seen) == 1
    assert (await known(tracked, task.id)).runs == 1


async def test_delayed_by_node(
    tracked: Tracked, store: Store, redis: Redis, node: NodeDriver
) -> None:
    """A tracked job that Node delays and promotes itself is harmless beside our own."""
    await node.call("scheduler.start")
    task = await tracked.create("echo", {"a": 1}, queue="interop", delay=1900)
    args = [{"a": 1, TASK_ID: task.id}]
    await node.call("queue.enqueueIn", 100, "interop", "echo", args)
    shop = Shop(store)
    async with shop.workshop:
        after = await status_is(tracked, task.id, "completed")
        await wait_for(lambda: _empty(redis))
        await wait_for(lambda: not shop.workshop.worker.pool.slots.busy)
    assert (after.runs, len(shop.seen)) == (1, 1)
    run = after.record.last_run
    assert run is not None
    assert task.record.next_run_ms is not None
    assert run.start_ms >= task.record.next_run_ms  # never early


async def test_worked_by_node(
    tracked: Tracked, store: Store, redis: Redis, node: NodeDriver
) -> None:
    """A job that a Node worker runs in silence is delivered again after a while, and then known."""
    task = await tracked.create("echo", {"a": 1}, queue="interop")
    await node.call("worker.start", {"queues": ["interop"]})
    await wait_for(lambda: redis.llen("interop:ran"))
    await node.call("worker.stop")
    assert (await known(tracked, task.id)).status == "pending"
    await asyncio.sleep(0.05)
    await _look(store)
    shop = Shop(store)
    async with shop.workshop:
        after = await status_is(tracked, task.id, "completed")
    assert shop.seen == [{"a": 1}]
    assert after.runs == 1


async def test_failed_by_node(
    tracked: Tracked, store: Store, redis: Redis, node: NodeDriver
) -> None:
    """A job that fails in a Node worker is known by Node's own failed entry."""
    task = await tracked.create("fail", {"why": "x"}, queue="interop")
    await node.call("worker.start", {"queues": ["interop"]})
    await wait_for(lambda: redis.llen(KEYS.failed))
    await node.call("worker.stop")
    await asyncio.sleep(0.05)
    await _look(store)
    after = await known(tracked, task.id)
    assert after.status == "failed"
    assert after.error is not None
    assert "object Object" in after.error.message


async def _look(store: Store) -> None:
    seconds, microseconds = await store.call("TIME")
    await TrackedChore(store, lost_after_ms=20).look(int(seconds) * 10**6 + int(microseconds))


async def test_an_unknown_id(store: Store, redis: Redis, node: NodeDriver) -> None:
    """An id that no record knows sends the job to failed, with that reason."""
    await node.call("queue.enqueue", "interop", "echo", [{TASK_ID: "gone"}])
    shop = Shop(store)
    async with shop.workshop:
        await wait_for(lambda: redis.llen(KEYS.failed))
    [entry] = await node.call("queue.failed", 0, -1)
    assert entry["exception"] == "UnknownTaskId"
    assert entry["error"].startswith("no record knows the tracked task 'gone'")
    assert entry["payload"]["args"] == [{TASK_ID: "gone"}]
    assert shop.seen == []


async def test_the_wrong_class(tracked: Tracked, store: Store, redis: Redis) -> None:
    """A job that names another class than its task's record fails, and the task waits on."""
    task = await tracked.create("echo", queue="elsewhere")
    raw = records.job_of(task.record).replace(b'"echo"', b'"ArgsJob"')
    await redis.rpush(KEYS.queue("interop"), raw)
    shop = Shop(store)
    async with shop.workshop:
        await wait_for(lambda: redis.llen(KEYS.failed))
    assert shop.seen == []
    assert (await known(tracked, task.id)).status == "pending"


def _bytes(word: object) -> bytes:
    return word if isinstance(word, bytes) else str(word).encode()


def recorded_items(name: str) -> list[bytes]:
    """The jobs in the queues and delayed lists of a recording."""
    found = [
        word
        for command in load_recorded(name)
        for word in map(_bytes, command[1:])
        if word.startswith(b'{"class"')
    ]
    assert found
    return found


def with_id(item: bytes, task_id: str) -> bytes:
    """A recorded item with the arguments of a tracked task; the order of its keys stays."""
    args = codec.encode_text([{"a": 1, TASK_ID: task_id}])
    item = replace_member(item, "args", args)
    return replace_member(item, "class", b'"ArgsJob"')


@pytest.mark.parametrize("name", ["ruby-01-enqueue", "ruby-04-requeue", "ruby-05-delayed-api"])
async def test_recorded_ruby_bytes(
    tracked: Tracked,
    store: Store,
    redis: Redis,
    name: str,
) -> None:
    """A job as Ruby writes it, requeues it and promotes it runs its task."""
    shop = Shop(store)
    ids = []
    async with shop.workshop:
        for item in recorded_items(name):
            task = await tracked.create("ArgsJob", {"a": 1}, queue="silent")
            ids.append(task.id)
            await redis.rpush(KEYS.queue("interop"), with_id(item, task.id))
        for task_id in ids:
            assert (await status_is(tracked, task_id, "completed")).runs == 1
    assert shop.seen == [{"a": 1}] * len(ids)


async def test_promoted_by_ruby(
    tracked: Tracked,
    store: Store,
    ruby_scheduler: RubyDriver,
) -> None:
    """A scheduled task whose delayed job is promoted by resque-scheduler runs and completes."""
    await ruby_scheduler.call("scheduler.start", {})
    shop = Shop(store)
    async with shop.workshop:
        task = await tracked.create("echo", {"a": 1}, queue="interop", delay=500)
        await status_is(tracked, task.id, "completed")
    assert shop.seen == [{"a": 1}]


async def test_requeued_by_ruby(
    tracked: Tracked, store: Store, redis: Redis, ruby: RubyDriver
) -> None:
    """A failed task that Ruby's `requeue` puts back, which leaves its entry, runs once more."""
    shop = Shop(store)
    shop.broken = True
    async with shop.workshop:
        task = await tracked.create("ArgsJob", {"a": 1}, queue="interop", retries=0)
        await status_is(tracked, task.id, "failed")
        shop.broken = False
        await ruby.call("failure.requeue", 0)
        await status_is(tracked, task.id, "completed")
    assert shop.seen == [{"a": 1}] * 2
    assert await redis.llen(KEYS.failed) == 1


async def test_requeued_as_ruby_does(tracked: Tracked, store: Store, redis: Redis) -> None:
    """The same by what Ruby writes: the entry says when it was retried, and stays."""
    shop = Shop(store)
    shop.broken = True
    async with shop.workshop:
        task = await tracked.create("ArgsJob", {"a": 1}, queue="interop", retries=0)
        await status_is(tracked, task.id, "failed")
        shop.broken = False
        [entry] = await redis.lrange(KEYS.failed, 0, -1)
        assert isinstance(entry, bytes)
        marked = entry[:-1] + b',"retried_at":"2026/11/21 00:27:20 UTC"}'
        await redis.lset(KEYS.failed, 0, marked.decode())
        await redis.rpush(KEYS.queue("interop"), records.job_of(task.record))
        await status_is(tracked, task.id, "completed")
    assert await redis.lrange(KEYS.failed, 0, -1) == [marked]


async def test_retried_by_node_after_our_retry(
    tracked: Tracked, store: Store, redis: Redis, node: NodeDriver
) -> None:
    """A task that failed, was retried here and failed again has one failed entry, which Node retries."""
    shop = Shop(store)
    shop.broken = True
    async with shop.workshop:
        task = await tracked.create("echo", {"a": 1}, queue="interop", retries=0)
        await status_is(tracked, task.id, "failed")
        await task.retry()
        await wait_for(lambda: len(shop.seen) == 2)
        await status_is(tracked, task.id, "failed")
        [entry] = await node.call("queue.failed", 0, -1)
        shop.broken = False
        await node.call("queue.retryAndRemoveFailed", entry)
        await status_is(tracked, task.id, "completed")
    assert await redis.llen(KEYS.failed) == 0
