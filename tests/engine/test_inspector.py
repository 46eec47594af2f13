"""The read side alone, and together with the write side."""

from __future__ import annotations

import inspect
from typing import Any

from resqpy import Inspector, Queue, Resque
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions

# node-resque 9's Queue, in our names.
NODE = {
    "connect": "connect", "end": "end", "enqueue": "enqueue", "enqueueAt": "enqueue_at",
    "enqueueIn": "enqueue_in", "queues": "queues", "delQueue": "del_queue", "length": "length",
    "del": "delete", "delByFunction": "del_by_function", "delDelayed": "del_delayed",
    "scheduledAt": "scheduled_at", "timestamps": "timestamps", "delayedAt": "delayed_at",
    "queued": "queued", "allDelayed": "all_delayed", "locks": "locks", "delLock": "del_lock",
    "workers": "workers", "workingOn": "working_on", "allWorkingOn": "all_working_on",
    "forceCleanWorker": "force_clean_worker", "cleanOldWorkers": "clean_old_workers",
    "failedCount": "failed_count", "failed": "failed", "removeFailed": "remove_failed",
    "retryAndRemoveFailed": "retry_and_remove_failed", "retryStuckJobs": "retry_stuck_jobs",
    "leader": "leader", "stats": "stats",
}  # fmt: skip


def test_everything_that_nodes_queue_has() -> None:
    """Each method, async and documented, on the object that has both sides."""
    for name in NODE.values():
        method = getattr(Resque, name)
        assert inspect.iscoroutinefunction(inspect.unwrap(method)), name
        assert method.__doc__, name


async def test_an_inspector_on_a_connection_of_its_own(redis_url: str, redis: Any) -> None:
    """By URL or options; it is closed with the inspector."""
    await redis.sadd("resque:queues", "q")
    async with Inspector(redis_url) as inspector:
        await inspector.connect()
        assert await inspector.queues() == ["q"]
    async with Inspector(RedisOptions(url=redis_url, namespace="other")) as inspector:
        assert await inspector.queues() == []
    await inspector.end()


async def test_an_inspector_on_a_queue_or_store(redis_url: str) -> None:
    """It shares the connection and leaves it open."""
    async with Queue(redis_url) as queue:
        await queue.enqueue("q", "Echo")
        for shared in (queue, queue.store):
            async with Inspector(shared) as inspector:
                assert await inspector.length("q") == 1
        assert await queue.enqueue("q", "Echo")


async def test_both_sides_in_one(redis_url: str) -> None:
    """A `Resque` is a `Queue` and an `Inspector` on one connection."""
    store = Store(RedisOptions(url=redis_url))
    async with Resque(store) as resque:
        assert isinstance(resque, Queue)
        assert isinstance(resque, Inspector)
        await resque.enqueue("q", "Echo")
        assert await resque.lengths() == {"q": 1}
    await store.close()
