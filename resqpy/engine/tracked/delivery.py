"""One delivery of a tracked task: claimed, processed, ended. What `plugins/tracking.py` is made of."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from resqpy.base.clock import SYSTEM_CLOCK, Clock
from resqpy.base.errors import (
    JobCancelled,
    OutcomeUnknown,
    StoreUnavailable,
    TrackedError,
    UnknownTaskId,
    WorkerStopped,
)
from resqpy.base.task_ending import Ending, EndKind
from resqpy.base.task_record import Record
from resqpy.engine.endings import failed_commands
from resqpy.engine.outcome import RETURNED, SKIPPED, Command, Kind, Outcome
from resqpy.engine.plugin import CallNext
from resqpy.engine.run import Run
from resqpy.engine.tracked import settling
from resqpy.engine.tracked.active import ActiveTask
from resqpy.engine.tracked.finishing import change_of, guarded, result_text
from resqpy.engine.tracked.lock import HeldLock
from resqpy.engine.tracked.processing import FORCE_RELEASE, LOCK_LOST, Finished, ProcessingState
from resqpy.engine.tracked.renewal import LockKeeper
from resqpy.engine.tracked.transitions import Change, fails
from resqpy.engine.tracked.verdict import Verdict, verdict
from resqpy.store import delayed, queues, records, task_locks
from resqpy.store.task_locks import Claim

ACTIVE = "resqpy.tracked"  # where a run's state has the active task

_TRIES = 4  # of a claim: each settles something that stood in its way
_WAIT_MS = 2000  # a task that comes this early is waited for in its slot
_UNANSWERED = (0.1, 0.5, 2.0, 5.0)  # seconds between the tries to hear what came of a claim
_LOST_GRACE_S = 5.0  # that a handler gets to end when the lock is lost

OnStep = Callable[[Record, Record | None], None]


class Deliveries:
    """All deliveries of tracked tasks in one process.

    Args:
        keeper: renews the locks.
        on_step: called when a step of a task is written here, with the record after it and the
            one before.
        on_active: called with each task before it is processed.
    """

    def __init__(
        self,
        keeper: LockKeeper,
        clock: Clock = SYSTEM_CLOCK,
        on_step: OnStep | None = None,
        on_active: Callable[[ActiveTask], None] | None = None,
    ) -> None:
        self._keeper = keeper
        self._clock = clock
        self._on_step = on_step
        self._on_active = on_active

    async def around(self, run: Run, task_id: str, call_next: CallNext) -> None:
        """Run a job whose arguments carry a task's id, if the task is to be run."""
        try:
            asked_s, record = await self._claim(run, task_id)
        except (OutcomeUnknown, StoreUnavailable):
            run.outcome = RETURNED
            return
        if record is None:
            return
        task = self._active(run, record, asked_s)
        try:
            await call_next()
        finally:
            run.task_done = True
            self._keeper.let_go(run.state[ACTIVE, "lock"])
        await _conclude(run, task)

    # -- claim --

    async def _claim(self, run: Run, task_id: str) -> tuple[float, Record | None]:
        """The record, if we run the task; else what becomes of the job stands in the run."""
        token = f"{run.worker_id}#{run.run_at or run.sequence}.{random.getrandbits(48):x}"
        for _ in range(_TRIES):
            asked_s = self._clock.monotonic()
            claim = await _ask(run, task_id, token)
            if claim.record is None:
                raise_in(run, UnknownTaskId(_unknown(task_id)))
                return asked_s, None
            if claim.ours:
                return asked_s, claim.record
            if not await _clear_way(run, claim):
                return asked_s, None
        run.outcome = SKIPPED
        return 0.0, None

    def _active(self, run: Run, record: Record, asked_s: float) -> ActiveTask:
        task = ActiveTask(
            record, run.store, self._clock, partial(failed_commands, run, clock=self._clock)
        )
        lock = HeldLock(record, asked_s, self._clock, task.processing.learned)
        task.processing.watch(lock)
        task.once("lock_lost", partial(_cancel_later, run, asyncio.current_task()))
        self._keeper.keep(lock)
        run.state[ACTIVE], run.state[ACTIVE, "lock"] = task, lock
        run.job = replace(run.job, args=[task.payload, *run.job.args[1:]])
        run.ender = partial(self._end, run, task)
        if self._on_step is not None:
            self._on_step(record, None)
        if self._on_active is not None:
            self._on_active(task)
        return task

    # -- end --

    def _end(self, run: Run, task: ActiveTask, outcome: Outcome) -> Sequence[Command]:
        """What the end of the run writes."""
        if not task.processing.locked or task.processing_state is not ProcessingState.ACTIVE:
            return []
        ending = _ending(run, task, outcome)
        change = change_of(task.record, ending)
        before: list[Command] = []
        if fails(task.record, ending):
            before += failed_commands(run, outcome.error or WorkerStopped(), self._clock)
        place = True
        if ending.kind is EndKind.RELEASE:  # it was not the task's wish: back to the head
            before.append(queues.return_command(run.store, run.queue, run.job.raw))
            place = False
        run.after.append(partial(self._ended, task, change, ending, outcome.error))
        return guarded(run.store, task.record, ending, before, change, place=place)

    def _ended(
        self, task: ActiveTask, change: Change, ending: Ending, error: BaseException | None
    ) -> None:
        task.record = change.after or task.record
        task.processing.over(Finished(ending.kind.value, error, ending.delay_ms))
        if self._on_step is not None:
            self._on_step(task.record, change.before)


async def _ask(run: Run, task_id: str, token: str) -> Claim:
    """Claim; where the answer was lost, ask again: the token tells whether it was done."""
    for pause_s in _UNANSWERED:
        try:
            return await task_locks.claim(run.store, task_id, run.class_name, token)
        except OutcomeUnknown:
            await asyncio.sleep(pause_s)
    return await task_locks.claim(run.store, task_id, run.class_name, token)


async def _clear_way(run: Run, claim: Claim) -> bool:
    """Settle what keeps a task from being claimed; False: it is not to be run."""
    record = claim.record
    assert record is not None
    way = verdict(record, run.class_name, claim.now_us // 1000)
    if way is Verdict.STRANGER:
        raise_in(
            run, TrackedError(f"task {record.id!r} is {record.type!r}, not {run.class_name!r}")
        )
        return False
    if way is Verdict.RECOVER:
        await settling.recover(run.store, record, claim.now_us, place=False)
        return True
    if way is Verdict.EARLY and await _wait(run, record, claim.now_us // 1000):
        return True
    if way is Verdict.REVIVE and await settling.revive(run.store, record, claim.now_us):
        return True
    run.outcome = SKIPPED
    return False


async def _wait(run: Run, record: Record, now_ms: int) -> bool:
    """Wait for a task that is due soon; another is left to the delayed list."""
    assert record.next_run_ms is not None
    left_ms = record.next_run_ms - now_ms
    if left_ms <= _WAIT_MS:
        await asyncio.sleep(left_ms / 1000)
        return True
    second = -(-record.next_run_ms // 1000)
    job = records.job_of(record)
    await delayed.add(run.store, second, job, [job])
    return False


def raise_in(run: Run, error: Exception) -> None:
    """The run fails without having begun."""
    run.error = error


def _unknown(task_id: str) -> str:
    return f"no record knows the tracked task {task_id!r}: it was removed, or its time is over"


def _cancel_later(run: Run, task: asyncio.Task[Any] | None) -> None:
    """A handler that goes on without its lock must not keep its slot for ever."""
    asyncio.get_running_loop().call_later(_LOST_GRACE_S, _cancel, run, task)


def _cancel(run: Run, task: asyncio.Task[Any] | None) -> None:
    if task is not None and not run.task_done and not run.ended:
        run.cancelled = True
        task.cancel()


# -- from what the handler did to an outcome --

_OUTCOMES = {
    EndKind.COMPLETE.value: Kind.SUCCESS,
    EndKind.DELETE.value: Kind.SUCCESS,
    EndKind.FAIL.value: Kind.FAILURE,
    EndKind.RETRY.value: Kind.RETRIED,
    EndKind.DEFER.value: Kind.DELAYED,
    EndKind.RELEASE.value: Kind.SKIPPED,
    EndKind.VETO.value: Kind.SKIPPED,
    FORCE_RELEASE: Kind.SKIPPED,
    LOCK_LOST: Kind.SKIPPED,
}


async def _conclude(run: Run, task: ActiveTask) -> None:
    """Decide how the run ends; what is not written yet is written with it."""
    if task.processing_state is ProcessingState.FINISHING:
        await _settled(task)
    finished = task.processing.finished
    if finished is not None:
        _as_finished(run, finished)
        return
    if run.interrupted:
        return
    if run.outcome is None and run.error is not None and not run.cancelled:
        _try_again(run, task)
    if task.processing.disabled:  # somebody changed the record, so this end needs its own step
        await _write_now(run, task)


async def _settled(task: ActiveTask) -> None:
    """Wait for a finishing call that nobody waited for."""
    over = asyncio.Event()
    task.once("state_changed", lambda _: over.set())
    await over.wait()


def _as_finished(run: Run, finished: Finished) -> None:
    """The record is written: the job's end only counts and is told."""
    kind = _OUTCOMES[finished.result]
    error = finished.error
    run.error = None
    result = run.result if kind is Kind.SUCCESS else None
    if kind is Kind.FAILURE and error is None:
        error = TrackedError("the task failed")
    info = {"delay": finished.delay_ms, "finished": finished.result}
    run.outcome = Outcome(kind, result, error, finished.delay_ms or 0, info)


def _try_again(run: Run, task: ActiveTask) -> None:
    """What a handler raised is retried with backoff, while attempts are left."""
    record = task.record
    if not record.may_repeat or run.error is None:
        return
    delay_ms = record.retries.backoff.delay_ms(record.attempts, random.random)
    info = {"delay": delay_ms, "attempt": record.attempts + 1, "error": run.error}
    run.outcome = Outcome(Kind.RETRIED, error=run.error, delay_ms=delay_ms, info=info)


async def _write_now(run: Run, task: ActiveTask) -> None:
    outcome = run.outcome or (
        Outcome(Kind.FAILURE, error=run.error)
        if run.error is not None
        else Outcome(Kind.SUCCESS, run.result)
    )
    ending = _ending(run, task, outcome)
    try:
        await task.write_end(ending, outcome.error)
    except TrackedError:
        return
    finished = task.processing.finished
    if finished is not None:
        _as_finished(run, finished)


_KINDS = {
    Kind.SUCCESS: EndKind.COMPLETE,
    Kind.FAILURE: EndKind.FAIL,
    Kind.RETRIED: EndKind.RETRY,
    Kind.DELAYED: EndKind.DEFER,
    Kind.SKIPPED: EndKind.VETO,
    Kind.RETURNED: EndKind.RELEASE,
}


def _ending(run: Run, task: ActiveTask, outcome: Outcome) -> Ending:
    """An outcome as the end of a task."""
    kind = _KINDS[outcome.kind]
    if kind is EndKind.COMPLETE:
        patch = task.changes()[0]
        return task.ending(kind, None, patch=patch, result=result_text(outcome.result))
    if kind in (EndKind.RETRY, EndKind.DEFER):
        return task.ending(kind, outcome.delay_ms, outcome.error)
    if kind is EndKind.RELEASE and task.record.retries.at_most_once and run.performed:
        return task.ending(EndKind.FAIL, None, outcome.error or WorkerStopped())
    if kind is EndKind.VETO:
        return task.ending(kind, None, JobCancelled("a plugin forbade the run"))
    return task.ending(kind, None, outcome.error)


def active_task(run: Run) -> ActiveTask | None:
    """The tracked task that a run processes, if it is one."""
    found = run.state.get(ACTIVE)
    return found if isinstance(found, ActiveTask) else None
