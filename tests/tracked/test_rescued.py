"""Tracked tasks beside the rescue of plain jobs, and beside workers that don't know them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy.base import codec
from resqpy.base.errors import UsageError
from resqpy.engine.definition import define
from resqpy.engine.queue.queue import Queue
from resqpy.engine.scheduler.promotion import DueItemPolicy
from resqpy.framework.api.api import api
from resqpy.framework.process.process import Process
from resqpy.framework.project.project import Project
from resqpy.store import workers
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions
from resqpy.store.delayed import Enqueue
from resqpy.tracked import locks, records
from resqpy.tracked.verbs import Tracked
from tests.engine.test_rescue import Scene, die_with
from tests.support.waiting import wait_for
from tests.tracked.support import KEYS, Workshop, known, status_is
from tests.tracked.test_recovery import SHORT, look

ONCE = '''
from resqpy import task

@task("pay", at_most_once=True)
async def pay() -> None:
    """Pay, once."""
'''


async def die_in_a_run(tracked: Tracked, redis_url: str, **options: Any) -> str:
    """A task whose worker died in its run; the rescue has been there."""
    task = await tracked.create("pay", queue="mail", lock_duration=SHORT, **options)
    await tracked.store.call("DEL", KEYS.queue("mail"))
    async with Scene(redis_url) as scene:
        (taken,) = await die_with(scene.store, records.job_of(task.record))
        (worker,) = await workers.ids(scene.store)
        await workers.mark_at_most_once(scene.store, worker, taken.claim.beginning)
        claim = await locks.claim(scene.store, task.id, "pay", f"{worker}#x")
        assert claim.ours
        await asyncio.sleep(SHORT / 1000 + 0.01)
        await scene.look()
    return task.id


async def test_one_failed_entry_for_one_death(
    tracked: Tracked, store: Store, redis: Redis, redis_url: str
) -> None:
    """A run that may not be repeated and died has one failed entry, that of its record."""
    task_id = await die_in_a_run(tracked, redis_url, at_most_once=True)
    assert await redis.llen(KEYS.failed) == 0

    await look(store)

    task = await known(tracked, task_id)
    assert task.status == "failed"
    assert task.error is not None
    assert task.error.name == "zombieTaskCleaned"
    assert await redis.llen(KEYS.failed) == 1
    ran: list[int] = []
    async with Workshop(store, {"pay": lambda *_: ran.append(1)}) as shop:

        async def drained() -> bool:
            waits = await redis.llen(KEYS.queue("mail"))
            return not waits and not shop.worker.pool.slots.busy

        await wait_for(drained)
    assert ran == []  # the copy that the rescue put back is dropped


async def test_a_task_that_may_run_once(tmp_path: Path, redis_url: str, redis: Redis) -> None:
    """A task that is defined as at most once is tracked as such."""
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "pay.py").write_text(ONCE)
    project = Project.load(tmp_path, "test", {"redis.url": redis_url})
    async with Process(project, worker=False):
        task = await api.tracked.create("pay")
        assert task.record.retries.at_most_once
        with pytest.raises(UsageError, match="at_most_once"):
            await api.tracked.create("pay", retries=3)
    assert await redis.exists(KEYS.task(task.id))


async def test_a_class_that_the_worker_does_not_know(
    tracked: Tracked, store: Store, redis: Redis
) -> None:
    """The record fails in the very step that fails the job, without another attempt."""
    task = await tracked.create("unheardOf", queue="mail")
    async with Workshop(store, {}) as shop:
        after = await status_is(tracked, task.id, "failed")
        assert shop.errors == []
    assert after.error is not None
    assert after.error.name == "UnknownTask"
    assert "unheardOf" in after.error.message
    assert (after.runs, after.record.attempts) == (1, 0)
    (entry,) = await redis.lrange(KEYS.failed, 0, -1)
    assert codec.decode_text(entry)["exception"] == "UnknownTask"
    assert await redis.get(KEYS.stat("failed")) == b"1"


async def test_enqueue_locks_are_not_asked_by_promotion(tracked: Tracked, store: Store) -> None:
    """A tracked task is never lost to an enqueue lock of a plain job."""
    queue = Queue(store, jobs={"mail": define("mail", print, plugins=["QueueLock"])})
    judge = DueItemPolicy(queue, "me")
    task = await tracked.create("mail", {"a": 1}, queue="mail", delay=60_000)
    action = judge.action(records.job_of(task.record), 0)
    assert isinstance(action, Enqueue)
    assert action.guards == ()
    plain = judge.action(b'{"class":"mail","queue":"mail","args":[{"a":1}]}', 0)
    assert isinstance(plain, Enqueue)
    assert len(plain.guards) == 1


async def test_two_chores_at_once(
    tracked: Tracked, store: Store, redis: Redis, redis_url: str
) -> None:
    """Leaders that don't know of each other settle each task once: a step holds for one of them."""
    count = 20
    tasks = [
        await tracked.create("lost", queue="lost", lock_duration=SHORT, retries=n % 2, retain_for=0)
        for n in range(count)
    ]
    await redis.delete(KEYS.queue("lost"))
    for task in tasks:
        assert (await locks.claim(store, task.id, "lost", "dead:1:lost#x")).ours
    await asyncio.sleep(SHORT / 1000 + 0.01)
    others = [Store(RedisOptions(redis_url)) for _ in range(3)]

    await asyncio.gather(*(look(each) for each in (store, *others)))

    for other in others:
        await other.close()
    again = [await tracked.get(task.id) for task in tasks if task.record.retries.most]
    assert [task and (task.status, task.attempts) for task in again] == [("pending", 1)] * 10
    assert await redis.llen(KEYS.queue("lost")) == count // 2
    assert await redis.llen(KEYS.failed) == count // 2
    assert await tracked.count() == count // 2  # those that are kept not at all are gone
