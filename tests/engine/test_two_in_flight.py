"""Two exchanges are in flight at once: what the second may bring is waited for where that matters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from resqpy import MultiWorker, Queue, ScalingOptions, Worker, WorkerOptions
from resqpy.base import codec
from resqpy.base.clock import FixedClock
from resqpy.engine.worker.pool import Pool
from resqpy.engine.worker.reporting import Wave
from resqpy.engine.worker.worker import Stopping
from resqpy.store.exchange import Request
from tests.support.waiting import wait_for


async def no_op(*_: Any) -> None:
    """A task."""


async def rest(*_: Any) -> bool:
    """Serves nothing."""
    return True


@asynccontextmanager
async def pool_of(redis_url: str, slots: int) -> AsyncIterator[Pool]:
    """The pool of a worker whose dispatcher rests."""
    scaling = ScalingOptions(min_task_processors=slots, max_task_processors=slots)
    options = WorkerOptions(heartbeat_s=60.0, timeout_s=60.0)
    async with MultiWorker(redis_url, {"C": no_op}, "q", options, scaling) as worker:
        pool, serve = worker.pool, worker.pool._serve
        pool._serve = rest  # type: ignore[method-assign]
        await wait_for(lambda: not pool.reporting.in_flight)
        yield pool
        pool._serve = serve  # type: ignore[method-assign]
        pool.look()


async def land_both(pool: Pool) -> None:
    """Two exchanges, each for half of the slots, are sent before the first reply is dealt with."""
    half = len(pool.slots.all) // 2
    waves = [Wave([], pool.slots.all[:half]), Wave([], pool.slots.all[half:])]
    requests = [pool.reporting.send(wave, ["q"]) for wave in waves]
    for wave, request in zip(waves, requests, strict=True):
        pool._after(wave, await pool.reporting.answer(wave, request))


async def test_a_suspect_waits_for_what_is_in_flight(redis_url: str, redis: Any) -> None:
    """A job that was lost twice with its worker would not be alone: the other reply brings another job."""
    suspect, other = (codec.encode_job("C", "q", [n]) for n in range(2))
    async with pool_of(redis_url, 2) as pool:
        begun: list[Any] = []
        pool.suspects._begin = lambda _, run: begun.append(run.args)
        pool.runner.begin = lambda *_: None  # type: ignore[method-assign]  # it runs on
        await redis.hset("resque:resqpy:rescues", codec.digest(suspect), 2)
        await redis.rpush("resque:queue:q", suspect, other)
        await land_both(pool)
        assert [slot.run is not None for slot in pool.slots.all] == [True, True]
        assert (begun, pool.suspects.active) == ([], True)
        pool.quiet = True
        for slot in pool.slots.busy:
            assert slot.run is not None
            pool.runner.return_untouched(slot, slot.run)
    assert await redis.lrange("resque:queue:q", 0, -1) == [suspect, other]


async def test_what_goes_back_keeps_its_order(redis_url: str, redis: Any) -> None:
    """Both replies bring jobs after the worker was paused: all of them stand in the queue as before."""
    raws = [codec.encode_job("C", "q", [n]) for n in range(8)]
    async with pool_of(redis_url, 6) as pool:
        pool.quiet = True
        await redis.rpush("resque:queue:q", *raws)
        await land_both(pool)
        assert await redis.lrange("resque:queue:q", 0, -1) == raws[6:]
    assert await redis.lrange("resque:queue:q", 0, -1) == raws


@pytest.mark.parametrize(("slots", "half"), [(100, 50), (51, 26)])
async def test_a_hiccup_leaves_no_uneven_waves(redis_url: str, slots: int, half: int) -> None:
    """Redis serves one half of the slots while we run the other, also after a time in which the process stood
    still, so that jobs seemed to last and were reported in small parts.
    """
    clock, ended, in_flight = FixedClock(1_900_000_000_000), list[int](), list[int]()

    async def job(number: int) -> None:
        if number in range(10 * slots, 11 * slots):
            clock.advance(5)

    async with Queue(redis_url) as queue:
        await queue.enqueue_many([("q", "C", [n]) for n in range(40 * slots)])
        scaling = ScalingOptions(min_task_processors=slots, max_task_processors=slots)
        async with MultiWorker(redis_url, {"C": job}, "q", None, scaling, clock) as worker:
            reporting = worker.pool.reporting
            send = reporting.send

            def noted(wave: Wave, names: Sequence[str]) -> Request:
                request = send(wave, names)
                ended.append(len(wave.ended))
                in_flight.append(reporting.in_flight)
                return request

            reporting.send = noted  # type: ignore[assignment, method-assign]
            await wait_for(lambda: sum(ended) == 40 * slots)
    early = [
        at for at in range(len(ended)) if sum(ended[:at]) < 20 * slots
    ]  # the last waves are small, too
    torn = [at for at in early if ended[at] == 8]
    assert torn or slots < 100
    settled = ended[max(torn, default=0) + 6 : -6]
    assert set(settled) == {half, slots - half}
    assert set(in_flight[2:-2]) == {1, 2}


async def test_few_idle_slots_are_named_first(redis_url: str) -> None:
    """One job costs the same on any number of idle slots; what is more than those few gets all."""
    gate = asyncio.Event()
    async with Queue(redis_url) as queue:
        scaling = ScalingOptions(min_task_processors=60, max_task_processors=60)
        options = WorkerOptions(heartbeat_s=60.0, timeout_s=60.0)
        async with MultiWorker(redis_url, {"C": gate.wait}, "q", options, scaling) as worker:
            pool, named = worker.pool, list[int]()
            await wait_for(lambda: not pool.reporting.in_flight)
            send = pool.reporting.send

            def noted(wave: Wave, names: Sequence[str]) -> Request:
                named.append(len(wave.slots))
                return send(wave, names)

            pool.reporting.send = noted  # type: ignore[assignment, method-assign]
            await queue.enqueue("q", "C")
            await wait_for(lambda: len(pool.slots.busy) == 1)
            assert set(named) == {4}
            named.clear()
            await queue.enqueue_many([("q", "C", [])] * 40)
            await wait_for(lambda: len(pool.slots.busy) == 41)
            assert (named[0], max(named) > 36) == (4, True)
            gate.set()


async def test_a_stop_sees_rest_where_a_reply_needed_an_answer(
    redis_url: str, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The script is not loaded yet, so the first reply is handled by a task of its own."""
    monkeypatch.setattr(Stopping, "_nothing_ran_of_late", lambda _: asyncio.Event().wait())
    await redis.script_flush()
    async with Worker(redis_url, {}, "q") as worker:
        pool = worker._pool
        assert pool is not None
    assert not pool._flights
