"""Failures of jobs, for the middleware that wants to hear of them: those of runs, from the events of workers;
and those that no run here ended with, from the store.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from resqpy.base import codec
from resqpy.base.concurrency.limited import within
from resqpy.base.concurrency.own_tasks import OwnTask, may_interrupt, own_task
from resqpy.base.errors import HookTimeout, PayloadError, class_of, message_of
from resqpy.base.job_records import UNREADABLE
from resqpy.base.masking import Redaction
from resqpy.base.model import Job, LostJob
from resqpy.base.when import duration_s
from resqpy.engine.lifecycle import OutcomeKind
from resqpy.engine.run import Run, current_run
from resqpy.engine.traceback_text import lines_of
from resqpy.framework.tasks.arguments import shown_args
from resqpy.framework.tasks.middleware import Middleware, overrides

if TYPE_CHECKING:
    from resqpy.framework.project.registry import Registry
    from resqpy.framework.tasks.spec import TaskSpec

_log = logging.getLogger("resqpy")


@dataclass(frozen=True, repr=False)
class JobFailure:
    """A job that has failed. What logs hide is hidden in `args`, `message` and `traceback` too.

    Attributes:
        task: the task's spec; None: there is no task of that name here.
        name: the job's class; empty if it can't be read.
        queue: the queue it was taken from, or waited for.
        error: what it raised, or why it failed; a `WorkerDied` or `PoisonPill` if its worker died.
        will_retry: it runs again by itself. False: it is in the failed list, or its record says so.
        delay_ms: how long until it is due again; None: it does not run again, or at once.
        attempt: the number of the attempt that failed; 1 if nobody counts.
        of: how many there are at most; None: unlimited, or nobody counts.
        id: of a tracked task; None: it is not tracked.
        worker: the full id of the worker that ran it, or of who found it.
        run: the engine's run; None: it failed without one in this process.
    """

    task: TaskSpec | None
    name: str
    queue: str
    error: BaseException
    will_retry: bool
    delay_ms: int | None
    attempt: int
    of: int | None
    id: str | None
    worker: str
    run: Run | None
    _args: list[Any]
    _redaction: Redaction

    @cached_property
    def args(self) -> list[Any]:
        """The job's arguments, for display: without secrets, long values cut."""
        return shown_args(self.task, self._args, self._redaction)

    @cached_property
    def exception(self) -> str:
        """The class of the error, as in the failed list."""
        return class_of(self.error)

    @cached_property
    def message(self) -> str:
        """The message of the error."""
        return self._redaction.text(message_of(self.error))

    @cached_property
    def traceback(self) -> str:
        """The traceback as text; empty if there is none."""
        return self._redaction.text("\n".join(lines_of(self.error)))

    def __repr__(self) -> str:
        again = "will be retried" if self.will_retry else "failed for good"
        of = "" if self.of is None else f" of {self.of}"
        return (
            f"<JobFailure of {self.name!r}: {self.exception}, attempt {self.attempt}{of}, {again}>"
        )


class FailureListeners:
    """Calls `on_failure` of a project's middleware.

    Args:
        redaction: hides what must not be shown.
    """

    def __init__(self, registry: Registry, redaction: Redaction) -> None:
        self._registry = registry
        self._redaction = redaction
        self._running: set[OwnTask[None]] = set()

    def follow(self, worker: Any) -> None:
        """Hear of the runs of a `MultiWorker`, and of the jobs that are lost on its store; if anybody listens."""
        if self._registry.hears_failures:
            worker.on("failure", self._failed)
            worker.on("re_enqueue", self._re_enqueued)
            worker.store.on_lost = self._lost

    def follow_scheduler(self, scheduler: Any) -> None:
        """Hear of the jobs that a `Scheduler` finds lost."""
        if self._registry.hears_failures:
            scheduler.store.on_lost = self._lost

    async def finish(self) -> None:
        """Wait for the listeners that are still running; each has its own limit."""
        while self._running:
            await asyncio.wait(self._running)

    def _failed(self, _number: int, queue: str, job: Job, error: BaseException, _ms: int) -> None:
        self._of_run(error)

    def _re_enqueued(self, _number: int, queue: str, job: Job, _info: Any) -> None:
        outcome = current_run.get().outcome
        if (
            outcome is not None
            and outcome.kind is OutcomeKind.RETRIED
            and outcome.error is not None
        ):
            self._of_run(outcome.error, outcome.delay_ms)

    def _of_run(self, error: BaseException, delay_ms: int | None = None) -> None:
        run = current_run.get()  # events of a run's end are emitted within it
        facts = run.lifecycle.facts()
        if run.attempt is not None:
            facts = {**facts, "attempt": run.attempt[0], "of": run.attempt[1]}
        again, worker = delay_ms is not None, str(run.worker_id)
        lost = LostJob(run.job.raw, run.queue, worker, error, will_retry=again, facts=facts)
        self._tell(lost, run.job, delay_ms, run)

    def _lost(self, lost: LostJob) -> None:
        try:
            job = codec.decode_job(lost.raw, lost.queue)
        except PayloadError:
            job = Job("", [], lost.queue, lost.raw)
        self._tell(lost, job)

    def _tell(
        self, lost: LostJob, job: Job, delay_ms: int | None = None, run: Run | None = None
    ) -> None:
        task = self._registry.tasks.get(job.class_name)
        name = job.class_name or codec.class_of(job.raw) or ""
        facts = lost.facts
        failure = JobFailure(
            task, "" if name == UNREADABLE else name, lost.queue, lost.error, lost.will_retry, delay_ms,
            facts.get("attempt", 1), facts.get("of"), facts.get("id"), lost.worker, run, job.args,
            self._redaction,
        )  # fmt: skip
        for each in self._registry.middleware.of(task):
            if overrides(each, "on_failure"):
                self._call(each, failure)

    def _call(self, middleware: Middleware, failure: JobFailure) -> None:
        try:
            result = middleware.on_failure(failure)
        except BaseException as error:  # a listener must not end the worker
            if isinstance(error, KeyboardInterrupt) and may_interrupt():
                raise
            _told(middleware, failure, error)
            return
        if isinstance(result, Coroutine):
            task = own_task(
                _limited(middleware, failure, result), f"on_failure of {middleware.title()}"
            )
            self._running.add(task)
            task.add_done_callback(self._running.discard)


async def _limited(
    middleware: Middleware, failure: JobFailure, listening: Coroutine[Any, Any, Any]
) -> None:
    limit, name = middleware.hook_timeout, f"on_failure of middleware {middleware.title()!r}"
    seconds = None if limit is None else duration_s(limit, name)
    late = partial(HookTimeout, f"{name} took longer than its hook_timeout of {seconds or 0:g} s")
    try:
        await within(listening, seconds, late, name)
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        _told(middleware, failure, error)


def _told(middleware: Middleware, failure: JobFailure, error: BaseException) -> None:
    message = "on_failure of middleware %r raised, for a failure of %r that is written already"
    _log.error(message, middleware.title(), failure.name, exc_info=error)
