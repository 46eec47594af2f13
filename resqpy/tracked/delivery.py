"""The deliveries of tracked tasks: claimed, run, ended; and the plugin through which a worker makes them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from resqpy.base.clock import SYSTEM_CLOCK, Clock
from resqpy.base.codec import task_id_of
from resqpy.base.concurrency.own_tasks import own_task
from resqpy.base.errors import OutcomeUnknown, ResqpyError, StoreUnavailable
from resqpy.base.model import Job
from resqpy.base.when import Duration
from resqpy.engine.definition import Definition, Definitions
from resqpy.engine.outcome import RETURNED
from resqpy.engine.plugin import CallNext, Plugin
from resqpy.engine.run import Run, current_run
from resqpy.engine.scheduler.redis_clock import RedisClock
from resqpy.engine.worker.execute import failure, unknown_task
from resqpy.store.connection.client import Store
from resqpy.tracked import settling
from resqpy.tracked.active import ActiveTask
from resqpy.tracked.claiming import TakenTask, claim
from resqpy.tracked.intercepting import VerbInterceptor
from resqpy.tracked.locks import ClaimResult
from resqpy.tracked.processing import FORCE_RELEASE, LOCK_LOST, Finished
from resqpy.tracked.record import Record, TaskStatus
from resqpy.tracked.renewal import LockKeeper, LockWatch
from resqpy.tracked.run import Interceptor, TrackedRun

_log = logging.getLogger("resqpy.tracked")

_SOON_MS = 10_000
_LOST = "task %s (%s) was removed, or its lock expired: the changes of this run were not written"

OnStep = Callable[[Record], None]


class EarlyPromotion:
    """Runs a task that is due again within seconds at its exact time, not at the next whole second.

    The delayed list has only whole seconds. So the worker that ended a run remembers when the next one is
    due, and moves the job to its queue then. If that fails, or the worker is gone by then, nothing is lost:
    the job is in the delayed list, and any scheduler promotes it when its second has come.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._moving: set[asyncio.Task[None]] = set()

    def remember(self, run: Run, record: Record) -> None:
        """Schedule the next run of a task, if it is soon and not at a whole second."""
        due_ms = record.next_run_ms
        if record.status is not TaskStatus.SCHEDULED or due_ms is None or due_ms % 1000 == 0:
            return
        wait_ms = due_ms - self._clock.now_ms()
        if wait_ms <= _SOON_MS:
            loop = asyncio.get_running_loop()
            loop.call_later(max(0, wait_ms) / 1000, self._begin, run, record)

    def _begin(self, run: Run, record: Record) -> None:
        if run.worker is not None and run.worker.running:
            task = own_task(_move(run.store, record))
            self._moving.add(task)
            task.add_done_callback(self._moving.discard)


async def _move(store: Store, record: Record) -> None:
    """Move its job when the time has come by Redis' clock, whatever our clock says."""
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


class Deliveries:
    """All deliveries of tracked tasks in one process.

    Args:
        keeper: renews the locks.
        clock: corrected by Redis' time with each claimed task; None: a new one.
        on_step: called with the record when processing of a task begins here and when it has finished.
        on_active: called with each task before it is processed.
        interceptor: called as `await interceptor(task, call_next)` around the processing of each task;
            `call_next` returns how it finished.
        verb_interceptors: wrap the verbs of active tasks; see `intercepting`.
    """

    def __init__(
        self,
        keeper: LockKeeper,
        clock: RedisClock | None = None,
        on_step: OnStep | None = None,
        on_active: Callable[[ActiveTask], None] | None = None,
        interceptor: Interceptor | None = None,
        verb_interceptors: list[VerbInterceptor] | None = None,
    ) -> None:
        self._verb_interceptors = [] if verb_interceptors is None else verb_interceptors
        self._keeper = keeper
        self._clock = clock or RedisClock(SYSTEM_CLOCK)
        self._watch = LockWatch(self._clock)
        self._on_step = on_step
        self._on_active = on_active
        self._early = EarlyPromotion(self._clock)
        self._interceptor = interceptor

    async def around(self, run: Run, task_id: str, call_next: CallNext) -> None:
        """Run a job whose arguments contain a task id, if the task may run."""
        try:
            claimed = await claim(run, task_id, self._clock)
        except (OutcomeUnknown, StoreUnavailable):
            run.outcome = RETURNED
            return
        if claimed is None:
            return
        tracked = self._begin(run, claimed)
        try:
            if self._interceptor is None:
                await call_next()
            else:
                await tracked.intercepted(call_next, self._interceptor)
        finally:
            run.task_done = True
            self._keeper.let_go(tracked.lock)
        await tracked.conclude()

    def _begin(self, run: Run, claimed: ClaimResult) -> TrackedRun:
        self._clock.note_between(claimed.now_us, claimed.asked_s)
        tracked = TrackedRun(run, claimed, self._clock, self._verb_interceptors)
        task = tracked.task
        self._watch.add(task.processing)
        self._keeper.keep(tracked.lock)
        task.on("finished", partial(self._finished, run, task))
        if self._on_step is not None:
            self._on_step(task.record)
        if self._on_active is not None:
            self._on_active(task)
        return tracked

    def _finished(self, run: Run, task: ActiveTask, finished: Finished) -> None:
        self._watch.remove(task.processing)
        if finished.result == LOCK_LOST:
            _log.warning(_LOST, task.id, task.type)
        if finished.result in (FORCE_RELEASE, LOCK_LOST):
            return
        self._early.remember(run, task.record)
        if self._on_step is not None:
            self._on_step(task.record)


class Tracking(Plugin):
    """Runs jobs that carry a task id by their records: the outermost plugin of every task. A job without an
    id costs one look at its arguments.

    Args:
        deliveries: those of the process.
    """

    hook_timeout: ClassVar[Duration | None] = None  # it waits for Redis as long as necessary

    def __init__(self, deliveries: Deliveries, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(options)
        self._deliveries = deliveries

    async def around(self, run: Run, call_next: CallNext) -> None:
        """Wraps the whole run, if the job belongs to a tracked task."""
        task_id = task_id_of(run.args)
        if task_id is None:
            await call_next()
        else:
            await self._deliveries.around(run, task_id, call_next)


def with_tracking(definitions: Mapping[str, Definition], deliveries: Deliveries) -> Definitions:
    """The same tasks, each of which can also be created as a tracked one.

    A tracked task that is not among them fails immediately, with its record, instead of being found later
    by the search for lost tasks.
    """
    tracking = Tracking(deliveries)

    def unknown(job: Job) -> Definition | None:
        if task_id_of(job.args) is None:
            return None
        return Definition(job.class_name, _no_such_task, is_async=True, around=(tracking,))

    known = {
        name: replace(definition, around=(tracking, *definition.around))
        for name, definition in definitions.items()
    }
    return Definitions(known, unknown, lifecycle=TakenTask)


async def _no_such_task(*_: Any) -> None:
    """Fail the run permanently: this worker would not know the task the next time either."""
    run = current_run.get()
    run.outcome = failure(unknown_task(run.class_name))
