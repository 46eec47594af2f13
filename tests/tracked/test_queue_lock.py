"""QueueLock of tracked tasks: which equals it keeps away, and who frees it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest
from redis.asyncio import Redis

from resqpy.base.errors import StoreError
from resqpy.engine.queue.queue import Queue
from resqpy.framework.api.tracking import TrackedApi
from resqpy.framework.tasks.task import Task
from resqpy.store.connection.client import Store
from resqpy.tracked.errors import DuplicateTask, TaskRefused
from resqpy.tracked.recovery import TrackedChore
from tests.tracked.support import KEYS, status_is

ran: list[Any] = []


class Once(Task):
    """Of equal ones, one waits."""

    name = "once"
    plugins: ClassVar = ["QueueLock"]

    async def run(self, **inputs: Any) -> None:
        """Note it; fail where that is wanted."""
        ran.append(inputs)
        if inputs.get("fails"):
            raise ValueError("no")


@pytest.fixture
async def api(store: Store) -> AsyncIterator[TrackedApi]:
    """A handler of that task; it takes nothing yet."""
    ran.clear()
    api = TrackedApi(store)
    await api.listen("once", Once)
    yield api
    await api.stop()


LOCK = KEYS.queue_lock("once", "once", '[{"a":1}]')


async def test_queue_lock(api: TrackedApi, redis: Redis) -> None:
    """Of two equal payloads the second is refused, whatever its id, until the first is taken."""
    first = await api.create("once", {"a": 1}, retain_for=None)
    with pytest.raises(TaskRefused, match="QueueLock"):
        await api.create("once", {"a": 1}, id="other")
    assert await api.get("other") is None
    await api.create("once", {"a": 2})
    assert await api.count() == 2
    assert await redis.llen(KEYS.queue("once")) == 2
    await api.start()
    await status_is(api, first.id, "completed")
    assert await redis.exists(LOCK) == 0
    again = await api.create("once", {"a": 1})
    await status_is(api, again.id, "completed")


async def test_queue_lock_of_a_payload_that_was_saved(api: TrackedApi, redis: Redis) -> None:
    """The lock that was taken is freed, although the payload is another by then."""
    task = await api.create("once", {"a": 1})
    task.payload["a"] = 7
    await task.save()
    await api.start()
    await status_is(api, task.id, "completed")
    assert ran == [{"a": 7}]
    assert await redis.exists(LOCK) == 0


async def test_queue_lock_against_plain_jobs(api: TrackedApi, store: Store) -> None:
    """Plain jobs and tracked tasks with the same inputs are equals."""
    queue = Queue(store, jobs={"once": api.listeners["once"].definition})
    assert await queue.enqueue("once", "once", [{"a": 1}])
    with pytest.raises(TaskRefused):
        await api.create("once", {"a": 1})
    await api.create("once", {"a": 2})
    assert not await queue.enqueue("once", "once", [{"a": 2}])


async def test_no_lock_is_left_by_what_is_not_created(api: TrackedApi, redis: Redis) -> None:
    """A second task with the same id, and a queue that is no list: the lock is free."""
    await api.create("hooked", id="one")
    with pytest.raises(DuplicateTask):
        await api.create("once", {"a": 1}, id="one")
    assert await redis.exists(LOCK) == 0
    await redis.set(KEYS.queue("once"), "no list")
    for options in ({}, {"start": 1_600_000_000_000}):
        with pytest.raises(StoreError, match="WRONGTYPE"):
            await api.create("once", {"a": 1}, id="two", **options)  # type: ignore[arg-type]
    assert await redis.exists(LOCK) == 0
    assert await api.get("two") is None


@pytest.mark.parametrize(
    ("status", "options"),
    [
        ("pending", {}),
        ("scheduled", {"delay": 60_000}),
        ("disabled", {"enabled": False}),
        ("pending", {"retain_for": 0}),
    ],
)
@pytest.mark.parametrize("verb", ["cancel", "remove"])
async def test_what_never_runs_frees_it(
    api: TrackedApi, redis: Redis, verb: str, status: str, options: Any
) -> None:
    """A task that is cancelled or removed while it waits lets its equal be created at once."""
    task = await api.create("once", {"a": 1}, **options)
    assert task.status == status
    assert await redis.exists(LOCK) == 1
    await getattr(api, verb)(task.id)
    assert await redis.exists(LOCK) == 0
    await api.create("once", {"a": 1})


@pytest.mark.parametrize("verb", ["cancel", "remove"])
async def test_the_lock_of_another_stays(api: TrackedApi, redis: Redis, verb: str) -> None:
    """A lock that ran out, and that an equal has taken since, is not freed."""
    task = await api.create("once", {"a": 1})
    held = b"%d" % (int(await redis.get(LOCK) or 0) + 10)
    await redis.set(LOCK, held)
    await getattr(api, verb)(task.id)
    assert await redis.get(LOCK) == held


async def test_a_second_attempt_frees_no_lock(api: TrackedApi, redis: Redis) -> None:
    """A task that runs again leaves the lock of an equal that waits."""
    payload, lock = (
        {"a": 1, "fails": True},
        KEYS.queue_lock("once", "once", '[{"a":1,"fails":true}]'),
    )
    task = await api.create("once", payload, retries=1, backoff=600_000)
    await api.start()
    await status_is(api, task.id, "scheduled")
    other = await api.create("once", payload, delay=600_000)
    held = await redis.get(lock)
    await api.retry(task.id)
    await status_is(api, task.id, "failed")
    assert held is not None
    assert await redis.get(lock) == held
    await api.cancel(other.id)
    assert await redis.exists(lock) == 0


async def test_taken_by_a_foreign_worker(api: TrackedApi, redis: Redis, store: Store) -> None:
    """What a foreign worker took and said nothing of frees its lock when it counts as failed."""
    task = await api.create("once", {"a": 1}, at_most_once=True)
    client: Any = redis
    assert await client.lpop(KEYS.queue("once")) is not None
    await TrackedChore(store, lost_after_ms=0).look(await store.time_us() + 1000)
    assert (await api.fetch(task.id)).status == "failed"
    assert await redis.exists(LOCK) == 0


async def test_a_worker_that_does_not_know_the_plugin(
    api: TrackedApi, redis: Redis, store: Store
) -> None:
    """The lock is freed by what the record says, whatever the worker knows of the task."""
    task = await api.create("once", {"a": 1})
    other = TrackedApi(store)
    await other.listen("once", lambda _: None)
    async with other:
        await status_is(api, task.id, "completed")
    assert await redis.exists(LOCK) == 0


async def test_a_task_that_never_runs_takes_none(api: TrackedApi, redis: Redis) -> None:
    """One whose recurrence is over before it begins is refused by none, and keeps none away."""
    await api.create("once", {"a": 1}, end=1_600_000_000_000)
    assert await redis.exists(LOCK) == 0
    await api.create("once", {"a": 1})
    await api.create("once", {"a": 1}, end=1_600_000_000_000)
