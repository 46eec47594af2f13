"""One delivery of a tracked task: claimed, processed, ended. What `plugins/tracking.py` is made of."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from weakref import ReferenceType, ref

from resqpy.base import codec
from resqpy.base.clock import SYSTEM_CLOCK, Clock
from resqpy.base.errors import (
    OutcomeUnknown,
    StoreUnavailable,
    TrackedError,
    WorkerStopped,
)
from resqpy.base.task_ending import Ending, EndKind
from resqpy.base.task_record import Record
from resqpy.engine.endings import failed_commands
from resqpy.engine.outcome import RETURNED, Command, Outcome
from resqpy.engine.plugin import CallNext
from resqpy.engine.redis_clock import RedisClock
from resqpy.engine.run import Run
from resqpy.engine.tracked.active import ActiveTask
from resqpy.engine.tracked.claiming import claim
from resqpy.engine.tracked.conclusion import conclude, ending_of
from resqpy.engine.tracked.finishing import change_of, guarded
from resqpy.engine.tracked.hastening import Hastening
from resqpy.engine.tracked.intercepting import VerbInterceptor
from resqpy.engine.tracked.lock import HeldLock
from resqpy.engine.tracked.lock_watch import LockWatch
from resqpy.engine.tracked.processing import FORCE_RELEASE, LOCK_LOST, Finished, ProcessingState
from resqpy.engine.tracked.renewal import LockKeeper
from resqpy.engine.tracked.transitions import Change, fails
from resqpy.store import queues
from resqpy.store.task_locks import Claim

_log = logging.getLogger("resqpy.tracked")

ACTIVE = "resqpy.tracked"  # where a run's state has the active task

_LOST = "task %s (%s) was removed, or its lock is over: what this run did is not written"
_LOST_GRACE_S = 5.0  # that a handler gets to end when the lock is lost

OnStep = Callable[[Record], None]
Interceptor = Callable[[ActiveTask, Callable[[], Awaitable[Finished | None]]], Awaitable[None]]


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
        task = self._active(run, claimed)
        try:
            if self._interceptor is None:
                await call_next()
            else:
                await _intercepted(run, task, call_next, self._interceptor)
        finally:
            run.task_done = True
            self._keeper.let_go(run.state[ACTIVE, "lock"])
        await conclude(run, task)

    def _active(self, run: Run, claimed: Claim) -> ActiveTask:
        record = claimed.record
        assert record is not None
        self._clock.note_between(claimed.now_us, claimed.asked_s)
        entry = partial(_failed_entry, ref(run), self._clock)
        task = ActiveTask(record, run.store, self._clock, entry, self._verb_interceptors)
        lock = HeldLock(claimed, self._clock, task.processing.learned)
        task.processing.hold(lock)
        self._watch.add(task.processing)
        task.on("lock_lost", partial(_cancel_later, run, asyncio.current_task()))
        self._keeper.keep(lock)
        run.state[ACTIVE], run.state[ACTIVE, "lock"] = task, lock
        run.claim = claimed
        own = codec.decode_text(record.payload)  # what a task does to its inputs is not saved
        run.job = replace(run.job, args=[own, *run.job.args[1:]])
        run.ender = partial(self._end, run, task)
        task.on("finished", partial(self._finished, run, task))
        if self._on_step is not None:
            self._on_step(record)
        if self._on_active is not None:
            self._on_active(task)
        return task

    # -- end --

    def _end(self, run: Run, task: ActiveTask, outcome: Outcome) -> Sequence[Command]:
        """What the end of the run writes."""
        if not task.processing.locked or task.processing_state is not ProcessingState.ACTIVE:
            return []
        ending = ending_of(run, task, outcome)
        change = change_of(task.record, ending)
        before: list[Command] = []
        if fails(task.record, ending):
            before += failed_commands(run, outcome.error or WorkerStopped(), self._clock)
        place = True
        if ending.kind is EndKind.RELEASE:  # it was not the task's wish: back to the head
            before.append(queues.return_command(run.store, run.queue, run.job.raw))
            place = False
        run.after = partial(_ended, run, task, change, ending, outcome.error)
        return guarded(run.store, task.record, ending, before, change, place=place)

    def _finished(self, run: Run, task: ActiveTask, finished: Finished) -> None:
        self._watch.remove(task.processing)
        if finished.result == LOCK_LOST:
            _log.warning(_LOST, task.id, task.type)
        if finished.result in (FORCE_RELEASE, LOCK_LOST):
            return
        self._hastening.remember(run, task.record)
        if self._on_step is not None:
            self._on_step(task.record)


def _failed_entry(run: ReferenceType[Run], clock: Clock, error: BaseException) -> Sequence[Command]:
    """What puts a run into the failed list, as long as somebody has it."""
    going_on = run()
    return [] if going_on is None else failed_commands(going_on, error, clock)


def _ended(
    run: Run,
    task: ActiveTask,
    change: Change,
    ending: Ending,
    error: BaseException | None,
    written: bool,
) -> None:
    """The end is settled. What refers to each other lets go, so that it is freed at once: leaving that
    to the garbage collector costs a sixth of a small run.
    """
    run.ender = run.after = None
    if not written:
        task.processing.lose()
        return
    task.record = change.after or task.record
    task.processing.over(Finished(ending.kind.value, error, ending.delay_ms))


async def _intercepted(
    run: Run, task: ActiveTask, call_next: CallNext, interceptor: Interceptor
) -> None:
    """Process a task with an interceptor around; the end is written before that hears of it."""
    called = False

    async def once() -> Finished | None:
        nonlocal called
        if called:
            raise TrackedError("an interceptor may call the next function only once")
        called = True
        await call_next()
        await conclude(run, task, write=True)
        return task.processing.finished

    try:
        await interceptor(task, once)
    except Exception:
        _log.exception("an interceptor of tracked tasks failed")
    if not called and task.processing.busy:
        await task.release(save_payload=False)


def _cancel_later(run: Run, task: asyncio.Task[Any] | None) -> None:
    """A handler that goes on without its lock must not keep its slot for ever."""
    asyncio.get_running_loop().call_later(_LOST_GRACE_S, _cancel, run, task)


def _cancel(run: Run, task: asyncio.Task[Any] | None) -> None:
    if task is not None and not run.task_done and not run.ended:
        run.cancelled = True
        task.cancel()


def active_task(run: Run) -> ActiveTask | None:
    """The tracked task that a run processes, if it is one."""
    found = run.state.get(ACTIVE)
    return found if isinstance(found, ActiveTask) else None
