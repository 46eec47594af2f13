"""Tasks that are taken in the very exchange that takes their jobs, and then don't begin at once."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis

from resqpy.base.errors import OutcomeUnknown
from resqpy.engine.options import WorkerOptions
from resqpy.store.connection.client import Store
from resqpy.store.exchange import Exchanged, Request
from resqpy.tracked import records
from resqpy.tracked.verbs import Tracked
from tests.support.waiting import wait_for
from tests.support.working import at_rest
from tests.tracked.support import KEYS, Workshop, known, status_is


async def test_a_job_that_cannot_be_read(tracked: Tracked, store: Store, redis: Redis) -> None:
    """An unreadable job whose class and id can be seen fails with its record, in one step."""
    large = await tracked.create("mail", {"a": "x" * 300}, queue="mail")
    broken = await tracked.create("mail", {"a": 1}, queue="mail")
    raw = records.job_of(broken.record)
    await store.call("LSET", KEYS.queue("mail"), 1, raw.replace(b'{"a":1,', b'{"a":01,'))
    options = WorkerOptions(max_payload=200)
    async with Workshop(store, {"mail": lambda *_: 0}, options=options) as shop:
        for task in (large, broken):
            failed = await status_is(tracked, task.id, "failed")
            assert failed.error is not None
            assert failed.error.name == "PayloadError"
        await wait_for(lambda: not shop.worker.pool.slots.busy)
        assert shop.errors == []
    assert await redis.llen(KEYS.failed) == 2
    assert await redis.get(KEYS.stat("failed")) == b"2"


async def test_a_task_that_was_taken_and_not_begun(
    tracked: Tracked, store: Store, redis: Redis
) -> None:
    """What a worker takes in the moment in which it is told to pause goes back as it was."""
    ran: list[None] = []
    async with Workshop(store, {"mail": lambda *_: ran.append(None)}, queues="mail") as shop:
        await at_rest(shop.worker)
        exchange = shop.worker.pool.reporting.exchange
        arrived = exchange.arrived

        def and_pause(request: Request) -> Exchanged | None:
            found = arrived(request)
            if found is not None and found.taken:
                exchange.arrived = arrived  # type: ignore[method-assign]
                shop.worker.pause()
            return found

        exchange.arrived = and_pause  # type: ignore[method-assign]
        task = await tracked.create("mail", {"a": 1}, queue="mail")
        await wait_for(lambda: shop.worker.pool.quiet)
        await wait_for(lambda: not shop.worker.pool.slots.busy)
        after = await known(tracked, task.id)
        assert (after.status, after.deliveries, after.record.run_start_ms) == ("pending", 0, None)
        assert await redis.lrange(KEYS.queue("mail"), 0, -1) == [records.job_of(task.record)]
        assert ran == []
        shop.worker.resume()
        assert (await status_is(tracked, task.id, "completed")).runs == 1
    assert await redis.get(KEYS.stat("failed")) is None


async def test_a_taken_task_whose_reply_was_lost(tracked: Tracked, store: Store) -> None:
    """A task that was taken by an exchange whose reply was lost runs all the same, and once."""
    ran: list[int] = []

    async def mail(_: Any) -> None:
        ran.append(1)

    async with Workshop(store, {"mail": mail}, queues="mail") as shop:
        await at_rest(shop.worker)
        exchange = shop.worker.pool.reporting.exchange
        arrived = exchange.arrived
        lost: list[Any] = []

        def forget_first(request: Request) -> Exchanged | None:
            found = arrived(request)
            if found is not None and found.taken and not lost:
                lost.append(found.taken[0].claim.along)
                raise OutcomeUnknown("lost")
            return found

        exchange.arrived = forget_first  # type: ignore[method-assign]
        task = await tracked.create("mail", {"a": 1}, queue="mail")
        after = await status_is(tracked, task.id, "completed")
    assert lost[0] is not None
    assert (after.runs, after.attempts, after.deliveries, ran) == (1, 0, 0, [1])
