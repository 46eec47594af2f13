"""How many ended jobs are reported in one exchange."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from resqpy import MultiWorker, Queue, ScalingOptions
from resqpy.engine.worker.reporting import Wave, part
from resqpy.store.exchange import Request
from tests.support.waiting import wait_for


@pytest.mark.parametrize(
    ("count", "lasted_ms", "slots", "reported"),
    [
        (1, 0, 1, 1),
        (50, 0, 50, 25),  # no-op jobs: Redis serves one half while we run the other
        (500, 15, 500, 250),  # no-op jobs, the last of which waited for the others
        (26, 0, 51, 26),
        (49, 0, 49, 49),  # too few for halves
        (100, 10, 100, 8),  # a wave
        (5, 10, 100, 5),  # a part of one already
        (1_000, 100, 1_000, 62),
        (50, 60_000, 50, 8),
        (25, 60_000, 50, 25),  # few enough for one round trip
    ],
)
def test_part(count: int, lasted_ms: int, slots: int, reported: int) -> None:
    """Waves of jobs that wait are reported in small parts, jobs that hardly last in halves."""
    assert part(count, lasted_ms, slots) == reported


async def test_a_wave_is_reported_in_parts_to_its_end(redis_url: str) -> None:
    """Jobs that begin and end together are all reported, in exchanges of a few each."""
    gate, reported = asyncio.Event(), list[int]()
    async with Queue(redis_url) as queue:
        await queue.enqueue_many([("waves", "wave", [])] * 120)
        scaling = ScalingOptions(min_task_processors=40, max_task_processors=40)
        worker = MultiWorker(redis_url, {"wave": gate.wait}, "waves", scaling=scaling)
        async with worker:
            send = worker.pool.reporting.send

            def noted(wave: Wave, names: Sequence[str]) -> Request:
                reported.append(len(wave.ended))
                return send(wave, names)

            worker.pool.reporting.send = noted  # type: ignore[assignment, method-assign]
            await wait_for(lambda: len(worker.pool.slots.busy) == 40, message="all run")
            await asyncio.sleep(0.05)  # they last
            gate.set()
            await wait_for(lambda: sum(reported) == 120, message="all are reported")

    assert [count for count in reported if count][:2] == [
        8,
        8,
    ]  # the next ones begin at once, and hardly last


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
