"""One job, from its run to its outcome. Nothing here writes to Redis except a plugin's lock."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import lru_cache, partial
from typing import Any

from resqpy.base import codec
from resqpy.base.concurrency.limited import within
from resqpy.base.concurrency.own_tasks import may_interrupt
from resqpy.base.errors import (
    DeadlinePassed,
    JobCancelled,
    JobTimeout,
    SnoozedTooOften,
    TaskUnfinished,
    UnknownTask,
    UsageError,
    WorkerStopped,
    add_note,
)
from resqpy.base.imports import MISSPELLED, near_match
from resqpy.engine.definition import NEED_NO_LOOK, Definition, finished, unfinished
from resqpy.engine.lifecycle import (
    EXPIRED,
    RETURNED,
    SKIPPED,
    SUCCEEDED,
    Outcome,
    OutcomeKind,
    Snooze,
)
from resqpy.engine.plugin import CallNext, HookLimit, Plugin
from resqpy.engine.run import Run, current_run
from resqpy.engine.worker import forks
from resqpy.engine.worker.threads import ThreadRunner


def unknown_task(name: str, known: Iterable[str] = ()) -> UnknownTask:
    """The failure of a job whose task this worker doesn't have; it begins like node-resque's."""
    words = f'No job defined for class "{name}"{_hint(name, tuple(known))}'
    return UnknownTask(f"{words}; deploy that task to the workers of its queue, then retry the job")


@lru_cache(maxsize=100)  # many jobs may have the same unknown class
def _hint(name: str, known: tuple[str, ...]) -> str:
    return near_match(name, known, MISSPELLED)


async def execute(run: Run, threads: ThreadRunner, known: Iterable[str] = ()) -> Outcome:
    """Run a job with its plugins; whatever happens becomes an outcome.

    Args:
        known: the names of all tasks, for suggestions.
    """
    definition = run.definition
    if definition is None:
        return failure(unknown_task(run.class_name, known))
    current_run.set(run)
    return await _executed(run, definition, partial(_perform, run, threads))


def passed(run: Run, outcome: Outcome) -> Outcome | None:
    """The outcome of a run that ran outside of its plugins, if that is all; None: they are asked `afterwards`."""
    assert run.definition is not None
    if outcome.kind is not OutcomeKind.SUCCESS:
        return None if run.task_done else outcome
    try:
        for succeeded in run.definition.succeeding:
            succeeded(run)
    except BaseException as error:  # SystemExit too
        _reraise_from_keyboard(error)
        run.effects.clear()  # its `around` says it again, to the others too
        return None
    return outcome


async def afterwards(run: Run) -> Outcome:
    """The outcome of a run whose task is done, by plugins that have nothing to do before it."""
    assert run.definition is not None
    return await _executed(run, run.definition, _done)


async def _done() -> None:
    pass


async def _executed(run: Run, definition: Definition, core: CallNext) -> Outcome:
    try:
        await _onion(run, definition.around, core)()
    except asyncio.CancelledError as error:
        run.error = run.error or _cancelled(run, error)
    except BaseException as error:  # a plugin failed
        _reraise_from_keyboard(error)
        run.error = error
    return conclude(run)


def _onion(run: Run, plugins: tuple[Plugin, ...], core: CallNext) -> CallNext:
    call = core
    for plugin in reversed(plugins):
        call = partial(_layer, run, plugin, call)
    return call


async def _layer(run: Run, plugin: Plugin, call_next: CallNext) -> None:
    limit = None if plugin.hook_timeout is None else HookLimit(run, plugin)
    try:
        await (plugin.around(run, call_next) if limit is None else limit.around(call_next))
        _refuse_left(run, plugin)
    except asyncio.CancelledError as error:
        late = limit is not None and limit.over
        if not late and (run.cancelled or run.interrupted):
            raise
        _plugin_failed(run, limit.error() if late and limit else _cancelled(run, error))
    except BaseException as error:  # SystemExit too, as with a task
        _reraise_from_keyboard(error)
        _plugin_failed(run, error)


def _refuse_left(run: Run, plugin: Plugin) -> None:
    """Refuse what a plugin can't mean as the run's result or error."""
    words, result = f"{plugin.name}, a plugin or middleware, set", run.result
    error: Any = run.error
    if isinstance(error, Snooze):  # set instead of raised
        raise error
    if error is not None and not isinstance(error, BaseException):
        run.error = None
        raise UsageError(
            f"{words} the error of {run.class_name!r} to {error!r}, which is no exception"
        )
    if type(result) not in NEED_NO_LOOK and (message := unfinished(result)):
        run.result = None
        raise TaskUnfinished(f"{words} the result of {run.class_name!r} to {message}")


def _plugin_failed(run: Run, error: BaseException) -> None:
    """A plugin's error fails the job, and its snooze delays it, whatever was decided; unless a stop did."""
    if run.interrupted and isinstance(run.error, WorkerStopped):
        return
    if isinstance(error, Snooze) and not run.cancelled:
        run.error = run.outcome = None
        _snooze(run, error)
        return
    if error is not run.error and error.__context__ is None:
        error.__context__ = run.error  # so that the traceback shows both
    run.error, run.outcome = error, None


async def _perform(run: Run, threads: ThreadRunner) -> None:
    """The task's own function; its error is stored in the run."""
    definition = run.definition
    assert definition is not None
    if run.ends and run.too_old:
        run.vetoed, run.outcome = True, EXPIRED
        return
    run.performed = True
    try:
        if definition.time_limit_s is None and not run.ends:
            run.result = await _call(run, threads)
        else:
            run.result = await _call_limited(run, threads, definition.time_limit_s)
    except BaseException as error:  # SystemExit too: a task must not end the worker
        if not note_failure(run, error):
            raise
    run.task_done = True


def note_failure(run: Run, error: BaseException) -> bool:
    """Store the error of the task's function in the run; False if it was cancelled because the worker
    stops.
    """
    if isinstance(error, asyncio.CancelledError):
        run.error = _cancelled(run, error)
        return not run.interrupted
    if isinstance(error, Snooze):
        _snooze(run, error)
        return True
    _reraise_from_keyboard(error)
    run.error = error
    return True


def _snooze(run: Run, snooze: Snooze) -> None:
    """The task wants to be run later; that is no error, unless it was so too often."""
    count = run.snoozed + 1
    if snooze.most is not None and count > snooze.most:
        words = f"{run.class_name} was snoozed {snooze.most} times, which is its limit"
        run.error = SnoozedTooOften(f"{words}: {snooze.reason}" if snooze.reason else words)
        run.error.__cause__ = snooze
        return
    info: dict[str, Any] = {"delay": snooze.delay_ms, "snoozed": count}
    told = {"most": snooze.most, "reason": snooze.reason or None}
    info |= {name: value for name, value in told.items() if value is not None}
    run.outcome = Outcome(OutcomeKind.SNOOZED, error=snooze, delay_ms=snooze.delay_ms, info=info)


def _reraise_from_keyboard(error: BaseException) -> None:
    """A user's Ctrl-C ends the program, even within a task."""
    if isinstance(error, KeyboardInterrupt) and may_interrupt():
        raise error


def _cancelled(run: Run, error: asyncio.CancelledError) -> BaseException:
    """Who cancelled the job? If it was not us, that is an error like any other: something that it awaits
    was cancelled, or it cancelled itself.
    """
    if run.interrupted:
        return WorkerStopped()
    task = asyncio.current_task()
    while task is not None and not run.inline and task.uncancel():
        pass  # once per cancellation: what follows must not be cancelled
    if run.cancelled:
        return JobCancelled()
    add_note(
        error,
        "not requested: the job, or something that it awaited, was cancelled from within",
    )
    return error


async def _call(run: Run, threads: ThreadRunner) -> object:
    definition = run.definition
    assert definition is not None
    if definition.is_async:
        born = forks.generation()
        try:
            result = await definition.perform(*run.job.args)
        finally:
            forks.end_child(born)
        return result if type(result) in NEED_NO_LOOK else await finished(result, plain=False)
    result = await threads.run(definition.perform, run.job.args, run)
    return await finished(result, plain=True)


async def _call_limited(run: Run, threads: ThreadRunner, limit_s: float | None) -> object:
    error: Exception = JobTimeout(
        f"{run.class_name} ran longer than its limit of {limit_s or 0:g} s"
    )
    deadline_ms = run.end_ms(codec.DEADLINE)
    if deadline_ms is not None:
        left_s = max(deadline_ms - run.clock.now_ms(), 0) / 1000
        if limit_s is None or left_s < limit_s:
            limit_s, error = left_s, DeadlinePassed(f"{run.class_name} ran until its deadline")
    return await within(
        _call(run, threads), limit_s, lambda: error, f"job {run.class_name}",
        None if run.runner is None else run.runner.left.add,
    )  # fmt: skip


def failure(error: BaseException) -> Outcome:
    """The outcome for an error."""
    return Outcome(OutcomeKind.FAILURE, error=error)


def conclude(run: Run) -> Outcome:
    """The outcome of the job, from what is known at the end of the run."""
    if run.interrupted and isinstance(run.error, WorkerStopped):
        once = run.definition is not None and run.definition.at_most_once
        return failure(run.error) if once and run.performed else RETURNED
    if run.cancelled and isinstance(run.error, JobCancelled):
        return failure(run.error)  # not retried: somebody cancelled it
    if run.outcome is not None:
        return run.outcome
    if run.error is not None:
        return failure(run.error)
    if run.vetoed or not run.performed:
        return SKIPPED
    return SUCCEEDED if run.result is None else Outcome(OutcomeKind.SUCCESS, result=run.result)
