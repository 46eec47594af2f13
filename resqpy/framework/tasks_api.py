"""`api.tasks`: ActionHero's verbs, in its argument order, on the tasks of this project.

A task is named by its name or by what defines it (the class, the decorated function). Inputs are a dict;
`inputs` and `args` of what other clients enqueued may be a list, which is then taken as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from resqpy.base.errors import InvalidInputs, UsageError
from resqpy.base.pending import must_be_awaited
from resqpy.base.when import Duration, Moment
from resqpy.engine.periodic import RecurrentJobs
from resqpy.engine.queue import NewJob, say_which
from resqpy.framework.handle import TaskJob, task_words
from resqpy.framework.inspect_api import InspectApi
from resqpy.framework.registry import Registry
from resqpy.framework.resque import Resque
from resqpy.framework.spec import TaskSpec

Inputs = Mapping[str, Any] | None
Args = Mapping[str, Any] | Sequence[Any] | None


def _about(place: int, _: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    return task_words(args[place] if len(args) > place else kwargs.get("task_name"))


class TasksApi(InspectApi):
    """Enqueue, inspect and repair.

    Args:
        registry: the tasks.
        resque: the queue and the inspector.

    Attributes:
        recurrent: pauses, resumes and triggers periodic tasks.
    """

    def __init__(self, registry: Registry, resque: Resque) -> None:
        super().__init__(resque)
        self._registry = registry
        self._queue = resque.queue
        self.recurrent: RecurrentJobs = resque.recurrent

    # -- enqueue --

    @must_be_awaited(partial(_about, 0), needs_loop=True)
    async def enqueue(
        self, task_name: Any, inputs: Inputs = None, queue: str | None = None
    ) -> bool:
        """Enqueue a job; it is processed as soon as a task processor is free.

        Args:
            queue: another than the task's own.

        Returns:
            False if a plugin or a middleware forbade it.

        Raises:
            UnknownTask: with the nearest name.
            InvalidInputs: all that is wrong with the inputs.
        """
        task, args = self._checked(task_name, inputs)
        return await self._queue.enqueue(_or_own(queue, task), task.name, args)

    @must_be_awaited(partial(_about, 1), needs_loop=True)
    async def enqueue_at(
        self,
        timestamp: Moment,
        task_name: Any,
        inputs: Inputs = None,
        queue: str | None = None,
        *,
        suppress_duplicate_task_error: bool = False,
    ) -> bool:
        """Enqueue a job when a time has come.

        Args:
            timestamp: milliseconds since the epoch, or an aware datetime; a number that can only be
                seconds is refused.
            suppress_duplicate_task_error: return False instead of raising.

        Raises:
            DuplicateDelayedJob: the same job is due at that time already.
        """
        task, args = self._checked(task_name, inputs)
        return await self._queue.enqueue_at(
            timestamp, _or_own(queue, task), task.name, args, suppress_duplicate_task_error
        )

    @must_be_awaited(partial(_about, 1), needs_loop=True)
    async def enqueue_in(
        self,
        delay: Duration,
        task_name: Any,
        inputs: Inputs = None,
        queue: str | None = None,
        *,
        suppress_duplicate_task_error: bool = False,
    ) -> bool:
        """Enqueue a job when a time has passed: milliseconds or a timedelta; see `enqueue_at`."""
        task, args = self._checked(task_name, inputs)
        return await self._queue.enqueue_in(
            delay, _or_own(queue, task), task.name, args, suppress_duplicate_task_error
        )

    @must_be_awaited(lambda *_: "several tasks", needs_loop=True)
    async def enqueue_many(self, jobs: Iterable[TaskJob | tuple[Any, ...]]) -> list[bool]:
        """Enqueue many jobs in one round trip: `task.job(…)`, or `(task, inputs, queue)` with the
        queue, or both, left out. Either all are right, or nothing is written.

        Raises:
            UnknownTask, InvalidInputs: which of them is wrong, and how.
        """
        given, wanted = list(jobs), list[NewJob]()
        try:
            for job in given:
                each = job if isinstance(job, TaskJob) else TaskJob(*_three(job))
                task, args = self._checked(each.task, each.inputs)
                wanted.append((_or_own(each.queue, task), task.name, args))
        except UsageError as error:
            say_which(error, len(wanted), len(given))
            raise
        return await self._queue.enqueue_many(wanted)

    def _checked(self, task_name: Any, inputs: Inputs) -> tuple[TaskSpec, list[Any]]:
        """The task, and its job's arguments: one object, as ActionHero has it."""
        task = self._registry.task(task_name)
        given = {} if inputs is None else inputs
        if not isinstance(given, Mapping):
            raise InvalidInputs(
                f"task {task.name!r}: the inputs are {task.inputs.quoted(given)}, not a dict"
            )
        task.inputs.check(given)
        return task, [dict(given)]

    # -- periodic tasks --

    async def enqueue_recurrent_job(self, task_name: Any) -> bool:
        """Start a periodic task, also one that was stopped; False if it was under way already.

        Raises:
            UnknownTask: no process has a periodic task of that name.
        """
        return await self.recurrent.enqueue_recurrent_job(self._name(task_name))

    async def enqueue_all_recurrent_jobs(self) -> list[str]:
        """Start all periodic tasks of this process, as it does by itself when it starts with a worker
        or a scheduler; the names of those that began. What was stopped by hand stays so.
        """
        return await self.recurrent.enqueue_all_recurrent_jobs()

    async def stop_recurrent_job(self, task_name: Any) -> int:
        """Stop a periodic task until `enqueue_recurrent_job`; how many of its jobs were removed."""
        return await self.recurrent.stop_recurrent_job(self._name(task_name))

    # -- find and remove by task --

    async def scheduled_at(self, queue: str, task_name: Any, args: Args = None) -> list[int]:
        """When a delayed job is due: milliseconds since the epoch, sorted."""
        return await self.inspector.scheduled_at(queue, self._name(task_name), as_args(args))

    async def delete(self, queue: str, task_name: Any, args: Args = None, count: int = 0) -> int:
        """Remove jobs from a queue by task and inputs (ActionHero's `del`); how many.

        Args:
            count: how many at the most; 0: all; negative: from the tail.
        """
        return await self._queue.delete(queue, self._name(task_name), as_args(args), count)

    async def del_(self, queue: str, task_name: Any, args: Args = None, count: int = 0) -> int:
        """The same as `delete`, nearer to the seed's name."""
        return await self.delete(queue, task_name, args, count)

    async def del_by_function(
        self, queue: str, task_name: Any, start: int = 0, stop: int = -1
    ) -> int:
        """Remove all jobs of a task from a queue, whatever their inputs; how many."""
        return await self._queue.del_by_function(queue, self._name(task_name), start, stop)

    async def del_delayed(self, queue: str, task_name: Any, args: Args = None) -> list[int]:
        """Remove a delayed job from all times at which it is due; those times in milliseconds."""
        return await self._queue.del_delayed(queue, self._name(task_name), as_args(args))

    async def del_delayed_at(self, timestamp: Moment) -> int:
        """Remove everything that is due at a time; how many jobs."""
        return await self._queue.del_delayed_at(timestamp)

    async def enqueue_delayed(
        self,
        task_name: Any,
        args: Args = None,
        *,
        queue: str | None = None,
        most: int | None = None,
    ) -> int:
        """Let delayed jobs of a task run now, before their time; how many (ours).

        Args:
            args: only jobs with these inputs; None: whatever they are.
            queue: only jobs for this queue; None: for any.
            most: so many at the most, the earliest first; None: all.
        """
        return await self._queue.enqueue_delayed(
            self._name(task_name),
            queue=queue,
            args=None if args is None else as_args(args),
            most=most,
        )

    async def move(
        self,
        queue: str,
        to_queue: str,
        task_name: Any = None,
        args: Args = None,
        most: int | None = None,
    ) -> int:
        """Move jobs that wait to the tail of another queue, in their order; how many (ours).

        Args:
            task_name: only jobs of this task; None: all.
            args: only jobs with these inputs; None: whatever they are.
            most: so many at the most; None: all.
        """
        return await self._queue.move(
            queue,
            to_queue,
            class_name=None if task_name is None else self._name(task_name),
            args=None if args is None else as_args(args),
            most=most,
        )

    async def del_queue(self, queue: str) -> int:
        """Remove a queue with all its jobs; how many."""
        return await self._queue.del_queue(queue)

    def _name(self, task: Any) -> str:
        """A name as it is: jobs of tasks that others define can be found, too."""
        return task if isinstance(task, str) else self._registry.task(task).name


def _or_own(queue: str | None, task: TaskSpec) -> str:
    """The queue that a caller names; an empty name is one, and is refused as such."""
    return task.queue if queue is None else queue


def as_args(args: Args) -> list[Any]:
    """A job's arguments from a dict of inputs; a list is a foreign client's."""
    if args is None:
        return [{}]
    return [dict(args)] if isinstance(args, Mapping) else list(args)


def _three(job: Any) -> tuple[Any, Any, Any]:
    if not isinstance(job, tuple | list) or not 1 <= len(job) <= 3:
        raise InvalidInputs(f"{job!r} is not (task, inputs, queue)")
    task, inputs, queue = (*job, None, None)[:3]
    return task, inputs or {}, queue
