"""A task that runs again within seconds runs at its very time, not at the next whole second.

The delayed list knows whole seconds only. So the worker that ended a run remembers when the next one
is due, and moves the job to its queue then. That may fail, and the worker may be gone by then: the job
stands in the delayed list all the while, and any scheduler promotes it when the second has come.
"""

from __future__ import annotations

import asyncio

from resqpy.base.clock import Clock
from resqpy.base.errors import ResqpyError
from resqpy.base.own_tasks import own_task
from resqpy.engine.run import Run
from resqpy.store.client import Store
from resqpy.tracked import settling
from resqpy.tracked.record import Record
from resqpy.tracked.status import TaskStatus

SOON_MS = 10_000


class Hastening:
    """What one process has in mind."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._moving: set[asyncio.Task[None]] = set()

    def remember(self, run: Run, record: Record) -> None:
        """See to the next run of a task, if it is soon and not at a whole second."""
        due_ms = record.next_run_ms
        if record.status is not TaskStatus.SCHEDULED or due_ms is None or due_ms % 1000 == 0:
            return
        wait_ms = due_ms - self._clock.now_ms()
        if wait_ms <= SOON_MS:
            loop = asyncio.get_running_loop()
            loop.call_later(max(0, wait_ms) / 1000, self._begin, run, record)

    def _begin(self, run: Run, record: Record) -> None:
        if run.worker is not None and run.worker.running:
            task = own_task(_move(run.store, record))
            self._moving.add(task)
            task.add_done_callback(self._moving.discard)


async def _move(store: Store, record: Record) -> None:
    """Move its job when the time has come by the clock of Redis, whatever ours says."""
    assert record.next_run_ms is not None
    try:
        now_us = await store.time_us()
        early_us = record.next_run_ms * 1000 - now_us
        if early_us > 0:
            await asyncio.sleep(early_us / 1_000_000)
            now_us += early_us
        await settling.fall_due(store, record, now_us)
    except ResqpyError:
        return
