"""A run and its tracked task, from the claim to the end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from weakref import ReferenceType, ref

from resqpy.base import codec
from resqpy.base.clock import Clock
from resqpy.base.concurrency.own_tasks import uncancel
from resqpy.base.errors import (
    InvalidInputs,
    InvalidJob,
    JobCancelled,
    SnoozedTooOften,
    WorkerStopped,
)
from resqpy.base.json_forms import to_json
from resqpy.base.json_rules import plain
from resqpy.base.model import Job
from resqpy.engine.lifecycle import Attempts, Command, Outcome, OutcomeKind, RetryPolicy
from resqpy.engine.plugin import CallNext, HookLimit
from resqpy.engine.run import Run
from resqpy.engine.worker.endings import failed_commands
from resqpy.store import queues
from resqpy.tracked import records
from resqpy.tracked.active import ActiveTask
from resqpy.tracked.checks import with_policy
from resqpy.tracked.claiming import Claimed
from resqpy.tracked.errors import TrackedError
from resqpy.tracked.locks import ClaimResult, HeldLock
from resqpy.tracked.processing import (
    FORCE_RELEASE,
    LOCK_LOST,
    Finished,
    ProcessingState,
    VerbInterceptor,
    limit_s,
    name_of,
)
from resqpy.tracked.record import Patch, RunEnd, RunEndKind
from resqpy.tracked.transitions import Change, change_of, fails

_log = logging.getLogger("resqpy.tracked")

_LOST_GRACE_S = 5.0  # granted to a handler to end when the lock is lost

Interceptor = Callable[[ActiveTask, Callable[[], Awaitable[Finished | None]]], Awaitable[None]]

_OUTCOMES = {
    RunEndKind.COMPLETE.value: OutcomeKind.SUCCESS,
    RunEndKind.DELETE.value: OutcomeKind.SUCCESS,
    RunEndKind.FAIL.value: OutcomeKind.FAILURE,
    RunEndKind.RETRY.value: OutcomeKind.RETRIED,
    RunEndKind.DEFER.value: OutcomeKind.DELAYED,
    RunEndKind.RELEASE.value: OutcomeKind.SKIPPED,
    RunEndKind.VETO.value: OutcomeKind.SKIPPED,
    FORCE_RELEASE: OutcomeKind.SKIPPED,
    LOCK_LOST: OutcomeKind.SKIPPED,
}
_KINDS = {
    OutcomeKind.SUCCESS: RunEndKind.COMPLETE,
    OutcomeKind.FAILURE: RunEndKind.FAIL,
    OutcomeKind.RETRIED: RunEndKind.RETRY,
    OutcomeKind.DELAYED: RunEndKind.DEFER,
    OutcomeKind.SNOOZED: RunEndKind.DEFER,
    OutcomeKind.SKIPPED: RunEndKind.VETO,
    OutcomeKind.EXPIRED: RunEndKind.VETO,  # a job with an id and an end, which others have written
    OutcomeKind.RETURNED: RunEndKind.RELEASE,
}


class _Intercepting:
    """An interceptor of runs as a hook with a time limit."""

    def __init__(self, task: ActiveTask, interceptor: Interceptor) -> None:
        self._task = task
        self._interceptor = interceptor

    @property
    def name(self) -> str:
        return name_of(self._interceptor)

    @property
    def hook_limit_s(self) -> float | None:
        return limit_s(self._interceptor)

    async def around(self, _: Run, call_next: Callable[[], Awaitable[Any]], /) -> None:
        await self._interceptor(self._task, call_next)


class TrackedRun(Claimed):
    """One delivery of a task: turns what its handler did into the outcome of the job and the task's end.

    Args:
        claimed: the task, with our lock.
        interceptors: wrap the verbs of the active task; see `intercepting`.

    Attributes:
        task: what the handler receives.
        lock: must be renewed while the handler runs.
    """

    def __init__(
        self, run: Run, claimed: ClaimResult, clock: Clock, interceptors: list[VerbInterceptor]
    ) -> None:
        super().__init__(claimed)
        record = self.claimed
        self.run = run
        self._settling: tuple[Change, RunEnd, BaseException | None] | None = None
        self._clock = clock
        self._changes: Patch | None = None  # of the payload, once the handler has returned
        entry = partial(_failed_entry, ref(run), clock)
        self.task: ActiveTask = ActiveTask(record, run.store, clock, entry, interceptors)
        self.lock: HeldLock = HeldLock(claimed, clock, self.task.processing.learned)
        self.task.processing.hold(self.lock)
        self.task.on("lock_lost", self._cancel_later)
        own = codec.decode_text(record.payload)  # a task's changes of its inputs are not saved
        job = run.job
        args = [own, *job.args[1:]]
        run.job = Job(job.class_name, args, job.queue, job.raw, job.extra, job.wrapper)
        run.lifecycle = self

    # -- called by others --

    def adopt(self, policy: RetryPolicy) -> bool:
        """Apply a plugin's policy to everything that the task's creator left open."""
        self.task.record = with_policy(self.task.record, policy)
        return True

    def snoozed(self, run: Run) -> int:
        """The record has the count."""
        return self.task.record.snoozed

    def attempts(self) -> Attempts | None:
        """The attempts, unless the end is already written."""
        record, retries = self.task.record, self.task.record.retries
        if not self.task.processing.busy:
            return None
        said = "backoff" in retries.said
        delay_ms = record.retry_delay_ms() if said else None
        return Attempts(record.attempts, record.attempts_left, delay_ms)

    # -- while the handler runs --

    async def intercepted(self, call_next: CallNext, interceptor: Interceptor) -> None:
        """Run it inside an interceptor; the end is written before the interceptor sees it."""
        called = False

        async def once() -> Finished | None:
            nonlocal called
            if called:
                raise TrackedError("an interceptor may call the next function only once")
            called = True
            await call_next()
            await self.conclude(write=True)
            return self.task.processing.finished

        limit = HookLimit(self.run, _Intercepting(self.task, interceptor))
        try:
            await limit.around(once)
        except asyncio.CancelledError:
            if not limit.over:
                raise
            uncancel()
            _log.error("%s", limit.error())
        except Exception:
            _log.exception("an interceptor of tracked tasks failed")
        if not called and self.task.processing.busy:
            await self.task.release(save_payload=False)

    def _cancel_later(self) -> None:
        """A handler that continues without its lock must not occupy its slot forever."""
        asyncio.get_running_loop().call_later(_LOST_GRACE_S, self._cancel)

    def _cancel(self) -> None:
        run = self.run
        if run.runner is not None and run.slot is not None:
            run.runner.cancel(run.slot, run)

    # -- afterwards: how the job ends --

    async def conclude(self, *, write: bool = False) -> None:
        """Decide how the run ends; unless it must be written immediately, nothing else is needed."""
        run, processing = self.run, self.task.processing
        if processing.state is ProcessingState.FINISHING:
            await self._settled()
        if processing.finished is not None:
            self._as_finished(processing.finished)
            return
        if run.interrupted:
            return
        if run.outcome is None and run.error is None:
            self._keep_changes()
        if run.outcome is None and run.error is not None and not run.cancelled:
            self._try_again(run.error)
        if write or processing.disabled:  # somebody changed the record: this needs a separate step
            await self._write_now()

    async def _settled(self) -> None:
        """Wait for a finishing call that was not awaited."""
        over = asyncio.Event()
        self.task.once("state_changed", lambda _: over.set())
        await over.wait()

    def _as_finished(self, finished: Finished) -> None:
        """The record is written: the job's end is only counted and reported."""
        run, kind, error = self.run, _OUTCOMES[finished.result], finished.error
        run.error = None
        snoozed = run.outcome is not None and run.outcome.kind is OutcomeKind.SNOOZED
        if snoozed and kind is OutcomeKind.DELAYED:
            return
        result = run.result if kind is OutcomeKind.SUCCESS else None
        if kind is OutcomeKind.FAILURE and error is None:
            error = TrackedError("the task failed")
        info = {"delay": finished.delay_ms, "finished": finished.result}
        run.outcome = Outcome(kind, result, error, finished.delay_ms or 0, info)

    def _keep_changes(self) -> None:
        """A handler that returns with a payload that is not JSON has failed, as if it had raised."""
        try:
            self._changes = self.task.changes()
        except InvalidJob as error:
            self.run.error = error

    def _try_again(self, error: BaseException) -> None:
        """What a handler raised is retried with backoff, while attempts are left."""
        record = self.task.record
        if not record.may_repeat or isinstance(error, (InvalidInputs, SnoozedTooOften)):
            return
        delay_ms = record.retry_delay_ms()
        info = {"delay": delay_ms, "attempt": record.attempts + 1, "error": error}
        self.run.outcome = Outcome(OutcomeKind.RETRIED, error=error, delay_ms=delay_ms, info=info)

    async def _write_now(self) -> None:
        run = self.run
        outcome = run.outcome or (
            Outcome(OutcomeKind.FAILURE, error=run.error)
            if run.error is not None
            else Outcome(OutcomeKind.SUCCESS, run.result)
        )
        try:
            ending = self._ending(outcome)
            await self.task.write_end(ending, None if ending.snoozed else outcome.error)
        except TrackedError:
            return
        if self.task.processing.finished is not None:
            self._as_finished(self.task.processing.finished)

    # -- how the task ends, and what that writes --

    def _ending(self, outcome: Outcome) -> RunEnd:
        """The end of a task for an outcome."""
        task, kind = self.task, _KINDS[outcome.kind]
        if kind is RunEndKind.COMPLETE:
            patch = task.changes() if self._changes is None else self._changes
            result = _result_text(outcome.result, f"task {task.id} ({task.type})")
            return task.ending(kind, None, patch=patch, result=result)
        if outcome.kind is OutcomeKind.SNOOZED:
            return replace(task.ending(kind, outcome.delay_ms), snoozed=True)
        if kind in (RunEndKind.RETRY, RunEndKind.DEFER):
            return task.ending(kind, outcome.delay_ms, outcome.error)
        once = task.record.retries.at_most_once and self.run.performed
        if kind is RunEndKind.RELEASE and once:
            return task.ending(RunEndKind.FAIL, None, outcome.error or WorkerStopped())
        if kind is RunEndKind.VETO:
            return task.ending(kind, None, JobCancelled("a plugin forbade the run"))
        return task.ending(kind, None, outcome.error)

    def end(self, run: Run, outcome: Outcome) -> Sequence[Command]:
        """The end of the task."""
        task = self.task
        self._settling = None
        if not task.processing.locked or task.processing_state is not ProcessingState.ACTIVE:
            return []
        ending = self._ending(outcome)
        change = change_of(task.record, ending)
        before: list[Command] = []
        if fails(task.record, ending):
            before += failed_commands(run, outcome.error or WorkerStopped(), self._clock)
        place = True
        if ending.kind is RunEndKind.RELEASE:  # not the task's wish: back to the head
            before.append(queues.return_command(run.store, run.queue, run.job.raw))
            place = False
        self._settling = change, ending, None if ending.snoozed else outcome.error
        return records.guarded(run.store, task.record, ending, before, change, place=place)

    def settled(self, run: Run, *, written: bool) -> None:
        """The end is written. Break reference cycles, so that everything is freed at once: leaving that to
        the garbage collector costs a sixth of a small run.
        """
        run.lifecycle = Claimed(self.claim, self.task)
        if self._settling is None:
            return
        if not written:
            self.task.processing.lose()
            return
        change, ending, error = self._settling
        self.task.record = change.after or self.task.record
        self.task.processing.over(Finished(ending.kind.value, error, ending.delay_ms))


def _failed_entry(run: ReferenceType[Run], clock: Clock, error: BaseException) -> Sequence[Command]:
    """Makes the failed entry of a run while somebody holds a reference to it."""
    going_on = run()
    return [] if going_on is None else failed_commands(going_on, error, clock)


def active_task(run: Run) -> ActiveTask | None:
    """The tracked task that a run processes, if any."""
    return run.lifecycle.task if isinstance(run.lifecycle, Claimed) else None


def _result_text(result: object, task: str) -> str | None:
    """JSON of a run's result; None if there is none or it can't be encoded: its work is done, so it must
    not be retried for that.
    """
    if result is None:
        return None
    try:
        return codec.encode_value(result if plain(result) else to_json(result), "result")
    except Exception as error:  # also of users' own `to_json`
        _log.warning("%s was completed, but its result was dropped: %s", task, error)
        return None
