"""The deliveries of tracked tasks: claimed, run, ended. What `tracked/tracking.py` is made of."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.errors import OutcomeUnknown, StoreUnavailable
from resqpy.engine.outcome import RETURNED
from resqpy.engine.plugin import CallNext
from resqpy.engine.redis_clock import RedisClock
from resqpy.engine.run import Run
from resqpy.tracked.active import ActiveTask
from resqpy.tracked.claiming import claim
from resqpy.tracked.hastening import Hastening
from resqpy.tracked.intercepting import VerbInterceptor
from resqpy.tracked.lock_watch import LockWatch
from resqpy.tracked.processing import FORCE_RELEASE, LOCK_LOST, Finished
from resqpy.tracked.record import Record
from resqpy.tracked.renewal import LockKeeper
from resqpy.tracked.run import Interceptor, TrackedRun
from resqpy.tracked.task_locks import Claim

_log = logging.getLogger("resqpy.tracked")

_LOST = "task %s (%s) was removed, or its lock is over: what this run did is not written"

OnStep = Callable[[Record], None]


class Deliveries:
    """All deliveries of tracked tasks in one process.

    Args:
        keeper: renews the locks.
        clock: corrected by what Redis says with each task that is claimed; None: one of our own.
        on_step: called with the record when a task begins to be processed here, and when that has
            finished.
        on_active: called with each task before it is processed.
        interceptor: called as `await interceptor(task, call_next)` around the processing of each
            task; `call_next` returns how it finished.
        verb_interceptors: stand around what is called of the active tasks; see `intercepting`.
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
        self._hastening = Hastening(self._clock)
        self._interceptor = interceptor

    async def around(self, run: Run, task_id: str, call_next: CallNext) -> None:
        """Run a job whose arguments carry a task's id, if the task is to be run."""
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

    def _begin(self, run: Run, claimed: Claim) -> TrackedRun:
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
        self._hastening.remember(run, task.record)
        if self._on_step is not None:
            self._on_step(task.record)
