"""Tracked tasks on a Redis Cluster, whose namespace is a hash tag."""

from __future__ import annotations

from typing import Any

from resqpy import RedisOptions, Store
from resqpy.framework.api.scheduler import Scheduler
from resqpy.framework.config.sections import SchedulerOptions
from resqpy.tracked.verbs import Tracked
from tests.support.waiting import wait_for
from tests.tracked.support import Workshop, status_is


async def test_tracked_tasks_on_a_cluster(cluster: list[int]) -> None:
    """Create, run, retry, query and the leader's chore: all keys are in the slot of the hash tag."""
    port = cluster[1]
    options = RedisOptions(f"redis://127.0.0.1:{port}", namespace="{tracked}", cluster=True)
    store = Store(options)
    await store.connect()
    tracked, ran = Tracked(store), 0

    async def job(payload: dict[str, Any]) -> int:
        nonlocal ran
        ran += 1
        if payload["n"] == 1 and ran < 5:
            raise ValueError("once more")
        return ran

    async with (
        Scheduler(store, {}, SchedulerOptions(timeout_s=0.1, task_lost_after_ms=200)),
        Workshop(store, {"job": job}, queues="jobs") as shop,
    ):
        made = [
            await tracked.create(
                "job", {"n": n}, queue="jobs", backoff=1, delay=delay, tags=["a"], priority=n
            )
            for n, delay in enumerate((0, 0, 500))
        ]
        lost = await tracked.create("job", {"n": 9}, queue="jobs", backoff=1, delay=60_000)
        await lost.retry()
        cancelled = await tracked.create("job", {"n": 7}, queue="jobs", delay=60_000)
        await cancelled.cancel()
        for task in (*made, lost):
            await status_is(tracked, task.id, "completed")
        elsewhere = await tracked.create("job", {"n": 8}, queue="nobody's", retain_for=100)
        await store.call("DEL", store.keys.queue("nobody's"))
        await wait_for(lambda: store.call("EXISTS", store.keys.queue("nobody's")))
        await elsewhere.cancel()

        async def removed() -> bool:
            return await tracked.get(elsewhere.id) is None

        await wait_for(removed)
        page = await tracked.query(type="job", tags=["a"], sort="created")
        assert [task.id for task in page.tasks] == [task.id for task in made]
        assert shop.errors == []
    assert await tracked.count(status="completed") == 4
    await store.close()
