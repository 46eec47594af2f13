"""What all ways of enqueueing a task have in common: its job is checked, enqueued, and the outcome told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from resqpy.base.errors import InvalidInputs, ShadowRefused, UsageError
from resqpy.base.model import ENQUEUED, Enqueued
from resqpy.base.shadowing import shadow_run
from resqpy.base.when import Duration, Moment, delay_ms, moment_ms
from resqpy.engine.queue.queue import NewJob, Queue, say_which
from resqpy.framework.project.registry import Registry
from resqpy.framework.tasks.arguments import args_of
from resqpy.framework.tasks.handle import TaskJob

_VERBS = ("enqueue", "enqueue_many", "enqueue_at", "enqueue_in")


class Enqueuer:
    """Enqueues the jobs of a registry's tasks.

    Args:
        queue: ours, or one in place of it, which may know neither why it refuses a job, nor keys of calls.

    Attributes:
        tells: the queue enqueues as ours does: none of its verbs is another's.
    """

    def __init__(self, registry: Registry, queue: Any) -> None:
        self._registry = registry
        self._queue = queue
        kind = type(queue)
        self.tells: bool = isinstance(queue, Queue) and all(
            getattr(kind, verb) is getattr(Queue, verb) for verb in _VERBS
        )

    async def now(self, job: TaskJob, **once: Any) -> Enqueued:
        """Enqueue a job.

        Args:
            once: `once` and `once_within` of a call with a key; else nothing.

        Raises:
            UnknownTask, InvalidInputs: what is wrong; nothing was written.
        """
        wanted = self.checked(job)
        if not self.tells:
            return _as_told(await self._queue.enqueue(*wanted, **once))
        done: Enqueued = await self._queue.enqueued(*wanted, **once)
        return done

    async def many(self, jobs: Iterable[TaskJob | tuple[Any, ...]], **more: Any) -> list[Enqueued]:
        """Enqueue many jobs: all are right, or nothing is written.

        Args:
            more: `front`, and as `now` has it; `once` may be a list.
        """
        given, wanted = list(jobs), list[NewJob]()
        try:
            for job in given:
                wanted.append(
                    self.checked(job if isinstance(job, TaskJob) else TaskJob(*_three(job)))
                )
        except UsageError as error:
            say_which(error, len(wanted), len(given))
            raise
        if not self.tells:
            return [*map(_as_told, await self._queue.enqueue_many(wanted, **more))]
        done: list[Enqueued] = await self._queue.enqueued_many(wanted, **more)
        return done

    async def after(
        self, delay: Duration, job: TaskJob, *, suppress: bool = True, **once: Any
    ) -> Enqueued:
        """Enqueue a job when a time has passed.

        Args:
            suppress: refuse the same job at the same time, instead of raising.

        Raises:
            DuplicateDelayedJob: the same job is due at that time already.
        """
        wanted = self.checked(job)
        if not self.tells:
            return _as_told(await self._queue.enqueue_in(delay, *wanted, suppress, **once))
        done, in_ms = None, delay_ms(delay)
        if in_ms > 0:
            done = await self._queue.enqueued_later(wanted, in_ms=in_ms, suppress=suppress, **once)
        return await self.now(job, **once) if done is None else done  # None: its time has come

    async def at(
        self, timestamp: Moment, job: TaskJob, *, suppress: bool = True, **once: Any
    ) -> Enqueued:
        """Enqueue a job when a time has come; see `after`."""
        wanted = self.checked(job)
        if not self.tells:
            return _as_told(await self._queue.enqueue_at(timestamp, *wanted, suppress, **once))
        at_ms = moment_ms(timestamp)
        done = await self._queue.enqueued_later(wanted, at_ms=at_ms, suppress=suppress, **once)
        return await self.now(job, **once) if done is None else done

    def checked(self, job: TaskJob) -> NewJob:
        """A job as a queue takes it.

        Raises:
            UnknownTask, InvalidInputs: what is wrong.
        """
        if not self.tells and shadow_run() is not None:
            raise ShadowRefused(
                "a shadow run can't note what it would enqueue in a queue that is not resqpy's own; ask "
                "run.shadow before it"
            )
        task = self._registry.task(job.task)
        given = {} if job.inputs is None else job.inputs
        if not isinstance(given, Mapping):
            raise InvalidInputs(
                f"task {task.name!r}: the inputs are {task.inputs.quoted(given)}, not a dict"
            )
        args = args_of(task, task.inputs.as_sent(given))
        # an empty name of a queue is one, and is refused as such
        return task.queue if job.queue is None else job.queue, task.name, args


def _as_told(done: bool) -> Enqueued:
    return ENQUEUED if done else Enqueued("queue")


def _three(job: Any) -> tuple[Any, Any, Any]:
    if not isinstance(job, tuple | list) or not 1 <= len(job) <= 3:
        raise InvalidInputs(f"{job!r} is not (task, inputs, queue)")
    task, inputs, queue = (*job, None, None)[:3]
    return task, inputs or {}, queue
