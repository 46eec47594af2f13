"""Failed lists of queues (`failed_per_queue`), which Ruby's RedisMultiQueue reads."""

from __future__ import annotations

from typing import Any

import pytest

from resqpy import RedisOptions, Resque
from resqpy.framework.api.tracking import TrackedApi
from resqpy.framework.tasks.task import Task
from resqpy.store import workers
from resqpy.store.connection.client import Store
from tests.engine.test_rescue import JOB, Scene, die_with, worker_id
from tests.support.scheduling import schedulers
from tests.support.waiting import wait_for
from tests.support.working import working
from tests.tracked.support import status_is


@pytest.fixture
def options(redis_url: str) -> RedisOptions:
    """Written into the lists of queues."""
    return RedisOptions(redis_url, failed_per_queue=True)


async def lists(redis: Any) -> dict[str, int]:
    """Those that Ruby's backend knows, and how long they are; `failed` does not exist."""
    assert not await redis.exists("resque:failed")
    names = [each.decode() for each in await redis.smembers("resque:failed_queues")]
    return {each: await redis.llen(f"resque:{each}") for each in names}


def no(*_: Any) -> None:
    """Fail."""
    raise ValueError("no")


async def test_what_a_worker_fails(redis_url: str, options: RedisOptions, redis: Any) -> None:
    """Also what can't be read; retried and removed from there."""
    await redis.rpush("resque:queue:a", '{"class":"no","args":[1]}', "{")
    await redis.rpush("resque:queue:b", '{"class":"other","args":[]}')
    more: Any = {"redis": {"failed_per_queue": True}, "events": ("failure",)}
    async with working(redis_url, {"no": no}, "a,b", **more) as work:
        await work.until(3)
    assert await lists(redis) == {"a_failed": 2, "b_failed": 1}
    async with Resque(options) as resque:
        first, *_ = found = await resque.failed()
        assert [each.source for each in found] == ["a_failed", "a_failed", "b_failed"]
        assert await resque.retry_and_remove_failed(first)
        assert await resque.remove_failed(found[-1]) == 1
        assert await redis.lrange("resque:queue:a", 0, -1) == [b'{"class":"no","args":[1]}']
        assert await resque.failed_lists() == {"failed": 0, "a_failed": 1, "b_failed": 0}


async def test_what_a_scheduler_fails(options: RedisOptions, redis: Any) -> None:
    """A due job that nobody can read."""
    await redis.rpush("resque:delayed:1000", '{"class":5,"queue":"a"}', "{")
    await redis.zadd("resque:delayed_queue_schedule", {"1000": 1000})
    async with schedulers(options, lease_s=0.4) as start:  # type: ignore[arg-type]  # more than a URL
        await start()
        await wait_for(lambda: redis.llen("resque:default_failed"))
    assert await lists(redis) == {"a_failed": 1, "default_failed": 1}


async def test_what_a_rescue_fails(redis_url: str, redis: Any) -> None:
    """A run that is not to be repeated."""
    async with Scene(redis_url, failed_per_queue=True) as scene:
        (taken,) = await die_with(scene.store, JOB)
        await workers.mark_at_most_once(scene.store, str(worker_id(1)), taken.claim.beginning)
        await scene.look()
    assert await lists(redis) == {"mail_failed": 1}


async def test_what_a_cleaning_fails(options: RedisOptions, redis: Any) -> None:
    """The job of a worker of Ruby's that is gone; the doctor's undo finds it by its source."""
    await redis.sadd("resque:workers", "host:1:a")
    await redis.set(
        "resque:worker:host:1:a",
        '{"queue":"a","run_at":"2026-11-21T00:00:00Z","payload":{"class":"no","args":[]}}',
    )
    async with Resque(options) as resque:
        entry = await resque.force_clean_worker("host:1:a")
    assert entry is not None
    assert entry.source == "a_failed"
    assert await lists(redis) == {"a_failed": 1}


class Doomed(Task):
    """Fails."""

    name = "doomed"

    async def run(self, **_: Any) -> None:
        """Fail."""
        raise ValueError("no")


async def test_tracked_tasks(options: RedisOptions, redis: Any) -> None:
    """They find their entries there: one that is retried leaves none."""
    store = Store(options)
    try:
        api = TrackedApi(store)
        await api.listen("doomed", Doomed)
        await api.start()
        task = await api.create("doomed", {"a": 1}, retries=0, retain_for=None)
        await status_is(api, task.id, "failed")
        await api.stop()
        assert await lists(redis) == {"doomed_failed": 1}
        await api.retry(task.id)
        assert await lists(redis) == {"doomed_failed": 0}
    finally:
        await store.close()
