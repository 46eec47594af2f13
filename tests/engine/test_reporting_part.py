"""How many ended jobs are reported in one exchange."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from resqpy import MultiWorker, Queue, ScalingOptions
from resqpy.engine.worker.reporting import part
from tests.support.waiting import wait_for


@pytest.mark.parametrize(
    ("count", "lasted_ms", "slots", "reported"),
    [
        (1, 0, 1, 1),
        (50, 0, 50, 50),  # no-op jobs: all in one
        (500, 15, 500, 500),  # no-op jobs, the last of which waited for the others
        (100, 10, 100, 8),  # a wave
        (5, 10, 100, 5),  # a part of one already
        (1_000, 100, 1_000, 62),
        (50, 60_000, 50, 8),
        (25, 60_000, 50, 25),  # few enough for one round trip
    ],
)
def test_part(count: int, lasted_ms: int, slots: int, reported: int) -> None:
    """Waves of jobs that wait are reported in small parts, jobs that hardly last all together."""
    assert part(count, lasted_ms, slots) == reported


async def test_a_wave_is_reported_in_parts_to_its_end(redis_url: str) -> None:
    """Jobs that begin and end together are all reported, in exchanges of a few each."""
    gate, exchanges = asyncio.Event(), Counter[int]()
    async with Queue(redis_url) as queue:
        await queue.enqueue_many([("waves", "wave", [])] * 120)
        scaling = ScalingOptions(min_task_processors=40, max_task_processors=40)
        worker = MultiWorker(redis_url, {"wave": gate.wait}, "waves", scaling=scaling)
        async with worker:
            line = worker.pool.reporting.exchange.line
            worker.on("success", lambda *_: exchanges.update([line.round_trips]))
            await wait_for(lambda: len(worker.pool.slots.busy) == 40, message="all run")
            await asyncio.sleep(0.05)  # they last
            gate.set()
            await wait_for(lambda: exchanges.total() == 120, message="all are reported")

    first, second = list(exchanges.values())[:2]  # the next ones begin at once, and hardly last
    assert (first, second) == (8, 8)


async def test_without_more_work_a_wave_is_reported_at_once(redis_url: str) -> None:
    """Where no job waits for the slots, all that ended is reported in one round trip."""
    reported: list[int] = []

    async with Queue(redis_url) as queue:
        await queue.enqueue_many([("waves", "wave", [])] * 40)
        scaling = ScalingOptions(min_task_processors=41, max_task_processors=41)
        gate = asyncio.Event()
        worker = MultiWorker(redis_url, {"wave": gate.wait}, "waves", scaling=scaling)
        worker.on("success", lambda number, *_: reported.append(number))
        async with worker:
            await wait_for(lambda: len(worker.pool.slots.busy) == 40, message="all run")
            await asyncio.sleep(0.05)  # they last
            before = worker.pool.reporting.exchange.line.round_trips
            gate.set()
            await wait_for(lambda: len(reported) == 40, message="all are reported")

            assert worker.pool.reporting.exchange.line.round_trips == before + 1
