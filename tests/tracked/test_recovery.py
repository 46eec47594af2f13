"""What becomes of tasks whose worker is gone, whose job is lost, whose time is over."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy.base import codec, job_records
from resqpy.base.clock import failed_at_utc
from resqpy.store.connection.client import Store
from resqpy.tracked import locks, records
from resqpy.tracked.active import ActiveTask
from resqpy.tracked.recovery import TrackedChore
from resqpy.tracked.verbs import Tracked
from tests.support.waiting import wait_for
from tests.tracked.support import KEYS, Listen, Workshop, known, processed

SHORT = 150  # ms, of a lock that nobody renews


async def claimed_by_nobody(tracked: Tracked, redis: Redis, **options: Any) -> str:
    """A task that a worker took and was never heard of again; its lock is over."""
    options = {"lock_duration": SHORT, "queue": "lost", **options}
    task = await tracked.create("lost", {"a": 1}, **options)
    await redis.delete(KEYS.queue("lost"))
    claim = await locks.claim(tracked.store, task.id, "lost", "dead:1:lost#x")
    assert claim.ours
    await asyncio.sleep(SHORT / 1000 + 0.01)
    return task.id


async def look(store: Store, lost_after_ms: int = 300_000) -> float:
    """One look of the leader."""
    seconds, microseconds = await store.call("TIME")
    now_us = int(seconds) * 1_000_000 + int(microseconds)
    return await TrackedChore(store, lost_after_ms).look(now_us)


async def test_an_expired_lock_is_an_attempt(
    tracked: Tracked, store: Store, redis: Redis, listen: Listen
) -> None:
    """A task whose lock is over is delivered again by its record."""
    task_id = await claimed_by_nobody(tracked, redis)
    assert (await known(tracked, task_id)).status == "pending"

    await look(store)

    task = await known(tracked, task_id)
    assert (task.status, task.attempts, task.deliveries) == ("pending", 1, 1)
    assert await redis.llen(KEYS.queue("lost")) == 1
    seen: list[int] = []

    async def handler(active: ActiveTask) -> None:
        seen.append(active.attempts)

    await processed(await listen("lost", handler))
    assert seen == [1]
    assert (await known(tracked, task_id)).status == "completed"


async def test_a_zombie_is_cleaned(tracked: Tracked, store: Store, redis: Redis) -> None:
    """Where no attempt is left, or at most once, the task ends as `zombieTaskCleaned`."""
    first = await claimed_by_nobody(tracked, redis, retries=0)
    second = await claimed_by_nobody(tracked, redis, at_most_once=True)
    subscriber: Any = redis.pubsub()
    await subscriber.subscribe(KEYS.events)
    await subscriber.get_message(timeout=1)

    await look(store)

    for task_id in (first, second):
        task = await known(tracked, task_id)
        assert task.status == "failed"
        assert task.error is not None
        assert task.error.name == "zombieTaskCleaned"
        message = await subscriber.get_message(timeout=1)
        assert codec.decode_text(message["data"]) == {
            "type": "task_failed",
            "content": {
                "id": task_id,
                "functionName": "lost",
                "error": {
                    "type": "runtime",
                    "name": "zombieTaskCleaned",
                    "message": task.error.message,
                },
            },
        }
    await subscriber.aclose()
    assert await redis.llen(KEYS.failed) == 2
    assert await redis.llen(KEYS.queue("lost")) == 0


async def test_a_linked_task_expires(tracked: Tracked, store: Store, redis: Redis) -> None:
    """An expired lock of a task with linked retries brings a new task, too."""
    task_id = await claimed_by_nobody(tracked, redis, linked=True, retries=1)

    await look(store)

    old = (await known(tracked, task_id)).record
    assert (old.status, old.retried_by is not None) == ("retried", True)
    new = (await known(tracked, old.retried_by or "")).record
    assert (new.status, new.attempts, new.retry_for) == ("pending", 1, (task_id,))
    assert await redis.llen(KEYS.queue("lost")) == 1


@pytest.mark.promise("frozen", "tracked")
async def test_a_zombie_that_wakes_changes_nothing(
    tracked: Tracked, store: Store, redis: Redis
) -> None:
    """A run that lost its lock while it was frozen ends in a void: no result, no failed entry."""
    task = await tracked.create("slow", queue="slow", lock_duration=5000)
    woken, errors = asyncio.Event(), []

    async def slow(_: Any) -> str:
        await woken.wait()
        return "too late"

    async with Workshop(store, {"slow": slow}) as shop:
        shop.worker.on("error", lambda error, *_: errors.append(str(error)))
        await wait_for(lambda: shop.worker.pool.slots.busy)
        await asyncio.sleep(0.05)
        stolen = {"lock": "another:1:x#y", "locked": str(2**42), "v": "7"}
        client: Any = redis
        await client.hset(KEYS.task(task.id), mapping=stolen)
        await redis.zadd(KEYS.task_locks, {task.id: 2**42})
        woken.set()
        await wait_for(lambda: not shop.worker.pool.slots.busy)

    after = await known(tracked, task.id)
    assert (after.status, after.result, after.runs) == ("running", None, 0)
    assert await redis.llen(KEYS.failed) == 0
    assert await redis.get(KEYS.stat("processed")) is None
    assert errors == []


async def test_a_job_that_nobody_has(tracked: Tracked, store: Store, redis: Redis) -> None:
    """A pending task whose job was taken by a foreign worker that said nothing is delivered again;
    after its last attempt it ends as a zombie.
    """
    task = await tracked.create("lost", queue="lost", retries=1)
    waiting = await tracked.create("lost", queue="lost", retries=1)
    await redis.lpop(KEYS.queue("lost"))
    await asyncio.sleep(0.02)

    await look(store, lost_after_ms=10)
    again = await known(tracked, task.id)
    assert (again.status, again.attempts) == ("pending", 1)
    assert (await known(tracked, waiting.id)).attempts == 0
    assert await redis.llen(KEYS.queue("lost")) == 2

    await redis.delete(KEYS.queue("lost"))
    await asyncio.sleep(0.02)
    await look(store, lost_after_ms=10)
    last = await known(tracked, task.id)
    assert last.status == "failed"
    assert last.error is not None
    assert last.error.name == "zombieTaskCleaned"


async def test_a_job_that_is_worked_on(tracked: Tracked, store: Store, redis: Redis) -> None:
    """A job that a foreign worker has in hand is not lost, however long it takes."""
    task = await tracked.create("lost", queue="lost", retries=0)
    job = await redis.lpop(KEYS.queue("lost"))
    assert isinstance(job, bytes)
    await redis.sadd(KEYS.workers, "ruby:1:lost")
    record = b'{"queue":"lost","run_at":"2026-01-01","payload":' + job + b"}"
    await redis.set(KEYS.worker("ruby:1:lost"), record)
    await asyncio.sleep(0.02)

    await look(store, lost_after_ms=10)

    assert (await known(tracked, task.id)).status == "pending"


def entry_of(job: bytes, worker: str, failed_ms: int, **more: str) -> bytes:
    """A failed entry as Ruby writes it."""
    return job_records.encode_failed(
        job_json=job, queue="lost", worker=worker, exception=more.get("exception", "NameError"),
        error="no such thing", backtrace=["a.rb:1"], failed_at=failed_at_utc(failed_ms),
    )  # fmt: skip


async def test_a_job_that_failed_elsewhere(tracked: Tracked, store: Store, redis: Redis) -> None:
    """A job that a foreign worker failed is known by its failed entry."""
    task = await tracked.create("lost", queue="lost")
    job = await redis.lpop(KEYS.queue("lost"))
    assert isinstance(job, bytes)
    await redis.rpush(KEYS.failed, entry_of(job, "ruby:1:lost", tracked.clock.now_ms()))
    await asyncio.sleep(0.02)

    await look(store, lost_after_ms=10)

    after = await known(tracked, task.id)
    assert after.status == "failed"
    assert after.error is not None
    assert (after.error.name, after.error.message) == ("NameError", "no such thing")
    assert await redis.llen(KEYS.failed) == 1


@pytest.mark.parametrize(
    ("worker", "ago_ms", "exception"),
    [
        ("vm+1-abcd2345:7:lost", 0, "NameError"),  # one of ours: the record knew it
        ("ruby:1:lost", 5_000, "NameError"),  # of a run before
        ("", 0, "zombieTaskCleaned"),
    ],
)
async def test_an_entry_of_another_run(
    tracked: Tracked, store: Store, redis: Redis, worker: str, ago_ms: int, exception: str
) -> None:
    """What stands in the failed list of an earlier run says nothing of a job that is lost."""
    task = await tracked.create("lost", queue="lost", interval=1000)
    job = await redis.lpop(KEYS.queue("lost"))
    assert isinstance(job, bytes)
    failed_ms = tracked.clock.now_ms() - ago_ms
    await redis.rpush(KEYS.failed, entry_of(job, worker, failed_ms, exception=exception))
    await asyncio.sleep(0.02)

    await look(store, lost_after_ms=10)

    after = await known(tracked, task.id)
    assert (after.status, after.runs, after.attempts) == ("pending", 0, 1)
    assert await redis.lrange(KEYS.queue("lost"), 0, -1) == [job]


async def test_a_delayed_item_that_vanished(tracked: Tracked, store: Store, redis: Redis) -> None:
    """A scheduled task runs although somebody deleted its delayed item."""
    task = await tracked.create("lost", queue="lost", delay=30)
    for key in [key async for key in redis.scan_iter("resque:delayed*")]:
        await redis.delete(key)
    await asyncio.sleep(0.04)

    await look(store, lost_after_ms=10)
    await asyncio.sleep(0.02)
    await look(store, lost_after_ms=10)

    assert (await known(tracked, task.id)).status == "pending"
    assert await redis.llen(KEYS.queue("lost")) == 1


async def test_retention(tracked: Tracked, store: Store, redis: Redis, listen: Listen) -> None:
    """Records are kept as long as was said: for a time, not at all, or for ever."""
    for index, retain in enumerate((30, 0, None, -1)):
        await tracked.create("kept", id=f"k{index}", queue="kept", retain_for=retain)

    async def handler(_: ActiveTask) -> None:
        return

    await processed(await listen("kept", handler), 4)
    kept = [await tracked.get(f"k{index}") is not None for index in range(4)]
    assert kept == [True, False, True, True]

    await asyncio.sleep(0.05)
    await look(store)
    kept = [await tracked.get(f"k{index}") is not None for index in range(4)]
    assert kept == [False, False, True, True]


async def test_retention_goes_by_the_end(tracked: Tracked, listen: Listen) -> None:
    """'keeps the automatic cleanup time up to date as the task is saved': it stays what it was."""
    task = await tracked.create("kept", queue="kept", retain_for=5000)

    async def handler(_: ActiveTask) -> None:
        return

    await processed(await listen("kept", handler))
    before = (await known(tracked, task.id)).record
    assert before.retain_until_ms is not None
    assert before.completed_us is not None
    assert before.retain_until_ms == before.completed_us // 1000 + 5000
    after = await known(tracked, task.id)
    after.payload = {"post_completion": "update"}
    await after.save()
    assert (await known(tracked, task.id)).record.retain_until_ms == before.retain_until_ms


async def test_retention_at_the_very_moment(tracked: Tracked, store: Store) -> None:
    """TWIN: 'can not cleanup retained items when equalling their retained date'."""
    task = await tracked.create("kept", queue="kept", retain_for=1000)
    await task.cancel()
    until_ms = task.record.retain_until_ms
    assert until_ms is not None
    chore = TrackedChore(store)
    await chore.look(until_ms * 1000)
    assert await tracked.get(task.id) is not None
    await chore.look((until_ms + 1) * 1000)
    assert await tracked.get(task.id) is None


async def test_an_end_beside_another_change(tracked: Tracked, store: Store, redis: Redis) -> None:
    """Somebody saves the payload in the moment in which a run ends: both count, and nobody waits."""
    task = await tracked.create("both", {"a": 1}, queue="both", id="both")
    begun, go = asyncio.Event(), asyncio.Event()

    async def both(_: Any) -> str:
        begun.set()
        await go.wait()
        return "done"

    async with Workshop(store, {"both": both}) as shop:
        await begun.wait()
        task.payload["b"] = 2
        await task.save()
        go.set()
        await wait_for(lambda: not shop.worker.pool.slots.busy)
        assert shop.errors == []
    raw = await records.get(store, "both")
    assert raw is not None
    assert raw.ending is not None

    after = await known(tracked, "both")
    assert (after.status, after.result, after.runs) == ("completed", "done", 1)
    assert after.payload == {"a": 1, "b": 2}


async def test_the_chore_says_when_to_look_again(tracked: Tracked, store: Store) -> None:
    """The leader sleeps until something is due, and no longer than it must."""
    assert await look(store) == 5.0
    await tracked.create("later", queue="later", delay=3000)
    assert 0.05 <= await look(store) <= 3.1


@pytest.mark.promise("stopped", "tracked")
async def test_a_worker_that_stops_releases(tracked: Tracked, store: Store, redis: Redis) -> None:
    """A stop puts what runs back: the job at the head of its queue, the task pending."""
    first = await tracked.create("slow", queue="slow")
    begun = asyncio.Event()

    async def slow(_: Any) -> None:
        begun.set()
        await asyncio.sleep(60)

    async with Workshop(store, {"slow": slow}, slots=1) as shop:
        await begun.wait()
        second = await tracked.create("slow", queue="slow")
        await shop.worker.stop(0)

    task = await known(tracked, first.id)
    assert (task.status, task.attempts, task.deliveries, task.runs) == ("pending", 0, 1, 0)
    jobs = await redis.lrange(KEYS.queue("slow"), 0, -1)
    assert jobs == [records.job_of(first.record), records.job_of(second.record)]


@pytest.mark.promise("stopped", "tracked at most once")
async def test_a_worker_that_stops_fails_what_may_run_once(
    tracked: Tracked, store: Store, redis: Redis
) -> None:
    """A run that may not be repeated ends as failed when its worker stops."""
    task = await tracked.create("slow", queue="slow", at_most_once=True)
    begun = asyncio.Event()

    async def slow(_: Any) -> None:
        begun.set()
        await asyncio.sleep(60)

    async with Workshop(store, {"slow": slow}, slots=1) as shop:
        await begun.wait()
        await shop.worker.stop(0)

    after = await known(tracked, task.id)
    assert after.status == "failed"
    assert after.error is not None
    assert after.error.name == "WorkerStopped"
    assert await redis.llen(KEYS.queue("slow")) == 0
    assert await redis.llen(KEYS.failed) == 1


async def test_a_job_that_is_parked_is_not_lost(
    tracked: Tracked, store: Store, redis: Redis
) -> None:
    """It waits for a limit of its task, however long."""
    task = await tracked.create("lost", {"a": 1}, queue="lost")
    [job] = await redis.lrange(KEYS.queue("lost"), 0, -1)
    await redis.delete(KEYS.queue("lost"))
    await redis.zadd(KEYS.parked, {"lost\nlost": 1})
    await redis.rpush(KEYS.parked_jobs("lost", "lost"), job)
    await asyncio.sleep(0.01)

    await look(store, lost_after_ms=1)
    assert (await known(tracked, task.id)).deliveries == 0
    assert await redis.exists(KEYS.queue("lost")) == 0
    await redis.delete(KEYS.parked)
    await asyncio.sleep(0.01)
    await look(store, lost_after_ms=1)
    assert await redis.llen(KEYS.queue("lost")) == 1
