"""What a tracked run costs: no round trip of its own, neither to begin nor to end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from resqpy.base.model import Job
from resqpy.engine.definition import definitions
from resqpy.engine.worker.reporting import Wave
from resqpy.store.connection.client import Store
from resqpy.store.exchange import Exchanged, Request
from resqpy.tracked import records
from resqpy.tracked.verbs import Tracked
from tests.support.waiting import wait_for
from tests.tracked.support import KEYS, Workshop

COUNT = 20


async def test_none_to_begin_none_to_end(tracked: Tracked, store: Store, redis: Redis) -> None:
    """The exchange that takes the job takes the task, and writes its end: completed, failed, tried
    again.
    """
    done: list[str] = []

    async def job(payload: dict[str, Any]) -> None:
        done.append(payload["how"])
        if payload["how"] != "complete":
            raise ValueError(payload["how"])

    async with Workshop(store, {"job": job}, slots=1, queues="jobs") as shop:
        await tracked.create("job", {"how": "complete"}, queue="jobs")  # loads the scripts
        await wait_for(lambda: len(done) == 1 and not shop.worker.pool.slots.busy)
        worker_line, exchange = store.line, shop.worker.pool.reporting.exchange.line
        for how, retries in (("complete", 0), ("fail", 0), ("retry", 3)):
            await store.call("SET", KEYS.pause, "true")
            for _ in range(COUNT):
                await tracked.create("job", {"how": how}, queue="jobs", retries=retries)
            done.clear()
            claims, trips = worker_line.round_trips, exchange.round_trips
            await redis.delete(KEYS.pause)
            await wait_for(lambda: len(done) == COUNT and not shop.worker.pool.slots.busy)
            assert worker_line.round_trips == claims
            assert exchange.round_trips - trips <= COUNT + 6


async def test_claims_travel_together(tracked: Tracked, store: Store, redis: Redis) -> None:
    """Jobs in another spelling than ours are claimed when they are read: many in one round trip."""
    done: list[None] = []

    async def job(_: Any) -> None:
        done.append(None)

    for _ in range(40):
        task = await tracked.create("job", queue="elsewhere")
        await redis.rpush(KEYS.queue("jobs"), records.job_of(task.record).replace(b":", b": "))
    async with Workshop(store, {"job": job}, slots=20, queues="jobs"):
        before = store.line.round_trips
        await wait_for(lambda: len(done) == 40)
        assert 1 <= store.line.round_trips - before <= 12


async def test_a_job_without_a_record_runs_as_in_a_worker_without_tracked_tasks(
    store: Store,
) -> None:
    """No plugin is around it: one coroutine less for each of its layers."""

    async def job() -> None:
        """The task."""

    known = definitions({"job": job})
    shop = Workshop(store, dict(known))
    of = shop.worker.definitions.of
    plain, tracked = Job("job", [], "q", b""), Job("job", [{"_task_id": "x"}], "q", b"")
    assert of(plain) is known["job"]
    assert [each.name for each in getattr(of(tracked), "around", ())] == ["Tracking"]
    assert of(Job("other", [], "q", b"")) is None
    assert of(Job("other", [{"_task_id": "x"}], "q", b"")) is not None


async def test_no_exchange_has_many(tracked: Tracked, store: Store, redis: Redis) -> None:
    """However many slots are free, and however many runs end at once: Redis serves nobody else meanwhile."""
    gate, taken, ended = asyncio.Event(), list[int](), list[int]()

    async def job(_: Any) -> None:
        await gate.wait()

    async with Workshop(store, {"job": job}, slots=80, queues="jobs") as shop:
        pool = shop.worker.pool
        heard, send = pool.reporting._heard, pool.reporting.send

        def noted(wave: Wave, exchanged: Exchanged) -> Exchanged:
            taken.append(len(exchanged.taken))
            return heard(wave, exchanged)

        def sent(wave: Wave, names: Sequence[str], **more: Any) -> Request:
            ended.append(len(wave.ended))
            return send(wave, names, **more)

        pool.reporting._heard, pool.reporting.send = noted, sent  # type: ignore[method-assign]
        await store.call("SET", KEYS.pause, "true")
        for _ in range(80):
            await tracked.create("job", queue="jobs")
        await redis.delete(KEYS.pause)
        await wait_for(lambda: len(pool.slots.busy) == 80)
        gate.set()
        await wait_for(lambda: not pool.slots.busy)

    assert (sum(taken), sum(ended)) == (80, 80)
    assert max(*taken, *ended) <= 25
