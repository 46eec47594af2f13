"""From what a handler did to the outcome of the job, and to the end of the task."""

from __future__ import annotations

import asyncio
import random

from resqpy.base.errors import InvalidInputs, InvalidJob, JobCancelled, TrackedError, WorkerStopped
from resqpy.base.task_ending import Ending, EndKind
from resqpy.engine.outcome import Kind, Outcome
from resqpy.engine.run import Run
from resqpy.engine.tracked.active import ActiveTask
from resqpy.engine.tracked.finishing import result_text
from resqpy.engine.tracked.processing import FORCE_RELEASE, LOCK_LOST, Finished, ProcessingState

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


async def conclude(run: Run, task: ActiveTask, *, write: bool = False) -> None:
    """Decide how the run ends; unless it is to be written at once, that is done with it."""
    if task.processing_state is ProcessingState.FINISHING:
        await _settled(task)
    finished = task.processing.finished
    if finished is not None:
        _as_finished(run, finished)
        return
    if run.interrupted:
        return
    if run.outcome is None and run.error is None:
        _keep_changes(run, task)
    if run.outcome is None and run.error is not None and not run.cancelled:
        _try_again(run, task)
    if (
        write or task.processing.disabled
    ):  # somebody changed the record, so this end needs its own step
        await _write_now(run, task)


def _keep_changes(run: Run, task: ActiveTask) -> None:
    """A handler that returns with a payload that is no JSON has failed, as one that raises."""
    try:
        task.final_changes = task.changes()
    except InvalidJob as error:
        run.error = error


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
    if not record.may_repeat or run.error is None or isinstance(run.error, InvalidInputs):
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
    ending = ending_of(run, task, outcome)
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


def ending_of(run: Run, task: ActiveTask, outcome: Outcome) -> Ending:
    """An outcome as the end of a task."""
    kind = _KINDS[outcome.kind]
    if kind is EndKind.COMPLETE:
        patch = task.changes() if task.final_changes is None else task.final_changes
        result = result_text(outcome.result, f"task {task.id} ({task.type})")
        return task.ending(kind, None, patch=patch, result=result)
    if kind in (EndKind.RETRY, EndKind.DEFER):
        return task.ending(kind, outcome.delay_ms, outcome.error)
    if kind is EndKind.RELEASE and task.record.retries.at_most_once and run.performed:
        return task.ending(EndKind.FAIL, None, outcome.error or WorkerStopped())
    if kind is EndKind.VETO:
        return task.ending(kind, None, JobCancelled("a plugin forbade the run"))
    return task.ending(kind, None, outcome.error)
