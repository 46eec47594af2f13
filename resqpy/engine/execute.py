"""One job, from its run to its outcome. Nothing here writes to Redis but a plugin's lock."""

from __future__ import annotations

import asyncio
from functools import partial

from resqpy.base.errors import JobCancelled, JobTimeout, UnknownTask, WorkerStopped
from resqpy.engine.keyboard import may_interrupt
from resqpy.engine.outcome import RETURNED, SKIPPED, Kind, Outcome
from resqpy.engine.plugin import CallNext, Plugin
from resqpy.engine.results import finished
from resqpy.engine.run import Run, current_run
from resqpy.engine.threads import ThreadRunner


async def execute(run: Run, threads: ThreadRunner) -> Outcome:
    """Run a job with its plugins; whatever happens is an outcome."""
    definition = run.definition
    if definition is None:
        return failure(UnknownTask(f'No job defined for class "{run.class_name}"'))
    current_run.set(run)
    try:
        if definition.around:
            await _onion(run, definition.around, partial(_perform, run, threads))()
        else:
            await _perform(run, threads)
    except asyncio.CancelledError:
        run.error = run.error or (WorkerStopped() if run.interrupted else JobCancelled())
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
    try:
        await plugin.around(run, call_next)
    except Exception as error:
        _plugin_failed(run, error)


def _plugin_failed(run: Run, error: Exception) -> None:
    """A plugin's error fails the job, whatever was decided; but not one that the worker stopped."""
    if run.interrupted and isinstance(run.error, WorkerStopped):
        return
    if error is not run.error and error.__context__ is None:
        error.__context__ = run.error  # so that the traceback shows both
    run.error, run.outcome = error, None


async def _perform(run: Run, threads: ThreadRunner) -> None:
    """The task's own function; what it raises is kept in the run."""
    definition = run.definition
    assert definition is not None
    run.performed = True
    try:
        if definition.time_limit_s is None:
            run.result = await _call(run, threads)
        else:
            run.result = await _call_limited(run, threads, definition.time_limit_s)
    except asyncio.CancelledError:
        if run.interrupted:
            run.error = WorkerStopped()
            raise
        run.error = _cancelled(run)
    except BaseException as error:  # SystemExit too: a task must not end the worker
        _reraise_from_keyboard(error)
        run.error = error
    run.task_done = True


def _reraise_from_keyboard(error: BaseException) -> None:
    """Somebody's Ctrl-C ends the program, also in the midst of a task."""
    if isinstance(error, KeyboardInterrupt) and may_interrupt():
        raise error


def _cancelled(run: Run) -> BaseException:
    """Who cancelled the task? If nobody did, it raised the error itself, as a failed await does."""
    if not run.cancelled:
        return JobCancelled("the task was cancelled from within: it raised CancelledError itself")
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()
    return JobCancelled()


async def _call(run: Run, threads: ThreadRunner) -> object:
    definition = run.definition
    assert definition is not None
    if definition.is_async:
        return await finished(await definition.perform(*run.job.args), plain=False)
    return await finished(await threads.run(definition.perform, run.job.args), plain=True)


async def _call_limited(run: Run, threads: ThreadRunner, limit_s: float) -> object:
    limit = asyncio.timeout(limit_s)
    try:
        async with limit:
            return await _call(run, threads)
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise JobTimeout(f"{run.class_name} ran longer than its limit of {limit_s:g} s") from error


def failure(error: BaseException) -> Outcome:
    """The outcome of an error."""
    return Outcome(Kind.FAILURE, error=error)


def conclude(run: Run) -> Outcome:
    """What becomes of the job, from what is known at the end of the run."""
    if run.interrupted and isinstance(run.error, WorkerStopped):
        once = run.definition is not None and run.definition.at_most_once
        return failure(run.error) if once and run.performed else RETURNED
    if run.cancelled and isinstance(run.error, JobCancelled):
        return failure(run.error)  # not to be tried again: somebody wanted it to end
    if run.outcome is not None:
        return run.outcome
    if run.error is not None:
        return failure(run.error)
    if run.vetoed or not run.performed:
        return SKIPPED
    return Outcome(Kind.SUCCESS, result=run.result)
