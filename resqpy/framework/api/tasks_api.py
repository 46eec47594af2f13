"""`api.tasks`: ActionHero's verbs, in its argument order, for the tasks of this project.

A task is identified by its name or its definition (the class, the decorated function). Inputs are a dict;
`inputs` and `args` of jobs enqueued by other clients may be a list, which is then used unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, Generic, NoReturn, ParamSpec, TypeVar, overload

from resqpy.base.concurrency.loops import must_be_awaited
from resqpy.base.errors import InvalidInputs
from resqpy.base.imports import near_match
from resqpy.base.json_forms import to_json
from resqpy.base.model import Job
from resqpy.base.when import Duration, Moment
from resqpy.engine.inspect.inspector import Inspector
from resqpy.engine.plugin import snake_case
from resqpy.engine.queue.periodic import RecurrentJobs
from resqpy.engine.queue.queue import ONCE_WITHIN_MS, OnceKeys, Queue, once_words
from resqpy.framework.api.enqueuer import Enqueuer
from resqpy.framework.project.registry import Registry
from resqpy.framework.tasks.arguments import args_of
from resqpy.framework.tasks.handle import TaskJob, task_words

if TYPE_CHECKING:
    from resqpy.framework.api.resque import ResqueParts

P = ParamSpec("P")
R = TypeVar("R")
Inputs = Mapping[str, Any] | None
Args = Mapping[str, Any] | Sequence[Any] | None


def _about(place: int, _: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    return task_words(args[place] if len(args) > place else kwargs.get("task_name"))


def _sync_of(_: TasksApi) -> str:
    return "api.sync.tasks"


class _Same(Generic[P, R]):
    """A verb delegated to the queue or the inspector.

    Args:
        of: which part has it.
        older: former names of its arguments here.
    """

    def __init__(
        self, verb: Callable[Concatenate[Any, P], R], of: str = "inspector", **older: str
    ) -> None:
        self._verb, self._of, self._older = verb, of, older

    @overload
    def __get__(self, api: None, owner: type) -> Callable[Concatenate[Any, P], R]: ...
    @overload
    def __get__(self, api: TasksApi, owner: type) -> Callable[P, R]: ...
    def __get__(self, api: TasksApi | None, owner: type) -> Any:
        if api is None:
            return self._verb
        verb: Callable[..., R] = getattr(getattr(api, self._of), self._verb.__name__)
        if not self._older:
            return verb
        return lambda *args, **more: verb(
            *args, **{self._older.get(name, name): value for name, value in more.items()}
        )


class TasksApi:
    """Enqueue, inspect and repair; `inspector` has more of it, with filters and iterators.

    Args:
        registry: the tasks.
        resque: the queue and the inspector.

    Attributes:
        enqueuer: what enqueues for `enqueue` and its like, and for tasks' own verbs.
        recurrent: pauses, resumes and triggers periodic tasks.
    """

    def __init__(self, registry: Registry, resque: ResqueParts) -> None:
        self.inspector: Inspector = resque.inspector
        self._registry = registry
        self._queue = resque.queue
        self.enqueuer: Enqueuer = Enqueuer(registry, resque.queue)
        self.recurrent: RecurrentJobs = resque.recurrent

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            names = [each for each in dir(self) if not each.startswith("_")]
            hint = near_match(snake_case(name), names)
            raise AttributeError(f"api.tasks has no {name!r}{hint}", name=name, obj=self)

    # -- enqueue --

    @must_be_awaited(partial(_about, 0), sync=_sync_of)
    async def enqueue(
        self,
        task_name: Any,
        inputs: Inputs = None,
        queue: str | None = None,
        *,
        once: str | None = None,
        once_within: Duration = ONCE_WITHIN_MS,
    ) -> bool:
        """Enqueue a job; it runs as soon as a task processor is free.

        Args:
            queue: another than the task's own.
            once: a text that names this very call, so that it may be repeated after `OutcomeUnknown`: while it
                is known, for this task, no second job is made.
            once_within: how long it is known, in milliseconds or as a timedelta; default: a day.

        Returns:
            False if a plugin or a middleware forbade it, or a call with the same `once` has made it.

        Raises:
            UnknownTask: with the nearest name.
            InvalidInputs: all that is wrong with the inputs.
        """
        job, more = TaskJob(task_name, inputs, queue), once_words(once, once_within)
        return bool(await self.enqueuer.now(job, **more))

    @must_be_awaited(partial(_about, 1), sync=_sync_of)
    async def enqueue_at(
        self,
        timestamp: Moment,
        task_name: Any,
        inputs: Inputs = None,
        queue: str | None = None,
        suppress_duplicate_task_error: bool = False,
        *,
        once: str | None = None,
        once_within: Duration = ONCE_WITHIN_MS,
    ) -> bool:
        """Enqueue a job at a time.

        Args:
            timestamp: milliseconds since the epoch, or an aware datetime; a number that can only be seconds
                is rejected.
            suppress_duplicate_task_error: return False instead of raising.
            once, once_within: as `enqueue` has them.

        Raises:
            DuplicateDelayedJob: the same job is due at that time already.
        """
        job, more = TaskJob(task_name, inputs, queue), once_words(once, once_within)
        suppress = suppress_duplicate_task_error
        return bool(await self.enqueuer.at(timestamp, job, suppress=suppress, **more))

    @must_be_awaited(partial(_about, 1), sync=_sync_of)
    async def enqueue_in(
        self,
        delay: Duration,
        task_name: Any,
        inputs: Inputs = None,
        queue: str | None = None,
        suppress_duplicate_task_error: bool = False,
        *,
        once: str | None = None,
        once_within: Duration = ONCE_WITHIN_MS,
    ) -> bool:
        """Enqueue a job after a delay: milliseconds or a timedelta; see `enqueue_at`."""
        job, more = TaskJob(task_name, inputs, queue), once_words(once, once_within)
        suppress = suppress_duplicate_task_error
        return bool(await self.enqueuer.after(delay, job, suppress=suppress, **more))

    @must_be_awaited(lambda *_: "several tasks", sync=_sync_of)
    async def enqueue_many(
        self,
        jobs: Iterable[TaskJob | tuple[Any, ...]],
        *,
        front: bool = False,
        once: OnceKeys | None = None,
        once_within: Duration = ONCE_WITHIN_MS,
    ) -> list[bool]:
        """Enqueue many jobs in one round trip: `task.job(…)`, or `(task, inputs, queue)` with the queue, or
        both, left out. If one of them is invalid, nothing is written.

        Args:
            once: a text that names this very call, of the same jobs in the same order; or a list with one
                for each job (None: it has none). See `enqueue`.

        Raises:
            UnknownTask, InvalidInputs: which of them is invalid, and why.
        """
        more = once_words(once, once_within)
        if front:  # a replaced queue need not support it
            more["front"] = True
        return [*map(bool, await self.enqueuer.many(jobs, **more))]

    # -- periodic tasks --

    async def enqueue_recurrent_job(self, task_name: Any) -> bool:
        """Start a periodic task, including one that was stopped; False if it was already running.

        Raises:
            UnknownTask: no process has a periodic task of that name.
        """
        return await self.recurrent.enqueue_recurrent_job(self._name(task_name))

    async def enqueue_all_recurrent_jobs(self) -> list[str]:
        """Start all periodic tasks of this process, as it does itself when it starts with a worker or a
        scheduler; returns the names of those started. Tasks stopped by hand stay stopped.
        """
        return await self.recurrent.enqueue_all_recurrent_jobs()

    async def stop_recurrent_job(self, task_name: Any) -> int:
        """Stop a periodic task until `enqueue_recurrent_job`; returns how many of its jobs were removed."""
        return await self.recurrent.stop_recurrent_job(self._name(task_name))

    # -- find and remove by task --

    async def scheduled_at(self, queue: str, task_name: Any, args: Args = None) -> list[int]:
        """When a delayed job is due: milliseconds since the epoch, sorted."""
        return await self.inspector.scheduled_at(
            queue, self._name(task_name), self._args(task_name, args)
        )

    async def delete(self, queue: str, task_name: Any, args: Args = None, count: int = 0) -> int:
        """Remove jobs from a queue by task and inputs (ActionHero's `del`); returns how many.

        Args:
            count: maximum number; 0: all; negative: from the tail.
        """
        return await self._queue.delete(
            queue, self._name(task_name), self._args(task_name, args), count
        )

    del_ = delete  # close to ActionHero's name

    async def del_by_function(
        self, queue: str, task_name: Any, start: int = 0, stop: int = -1
    ) -> int:
        """Remove all jobs of a task from a queue, whatever their inputs; returns how many."""
        return await self._queue.del_by_function(queue, self._name(task_name), start, stop)

    async def del_delayed(self, queue: str, task_name: Any, args: Args = None) -> list[int]:
        """Remove a delayed job from all times at which it is due; returns those times in milliseconds."""
        return await self._queue.del_delayed(
            queue, self._name(task_name), self._args(task_name, args)
        )

    del_delayed_at = _Same(Queue.del_delayed_at, "_queue")

    async def enqueue_delayed(
        self,
        task_name: Any,
        args: Args = None,
        *,
        queue: str | None = None,
        most: int | None = None,
    ) -> int:
        """Run delayed jobs of a task now, before their time; returns how many (resqpy only).

        Args:
            args: only jobs with these inputs; None: any.
            queue: only jobs for this queue; None: any.
            most: at most this many, the earliest first; None: all.
        """
        return await self._queue.enqueue_delayed(
            self._name(task_name),
            args=None if args is None else self._args(task_name, args),
            queue=queue,
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
        """Move waiting jobs to the tail of another queue, in order; returns how many (resqpy only).

        Args:
            task_name: only jobs of this task; None: all.
            args: only jobs with these inputs; None: any.
            most: at most this many; None: all.
        """
        return await self._queue.move(
            queue,
            to_queue,
            class_name=None if task_name is None else self._name(task_name),
            args=None if args is None else self._args(task_name, args),
            most=most,
        )

    # -- independent of tasks --

    del_queue = _Same(Queue.del_queue, "_queue")
    queues = _Same(Inspector.queues)
    pause_queue = _Same(Inspector.pause_queue)
    resume_queue = _Same(Inspector.resume_queue)
    paused_queues = _Same(Inspector.paused_queues)
    limit_running = _Same(Inspector.limit_running)
    running_limits = _Same(Inspector.running_limits)
    set_limit = _Same(Inspector.set_limit)
    shut_limit = _Same(Inspector.shut_limit)
    limits = _Same(Inspector.limits)
    put_back_parked = _Same(Inspector.put_back_parked)
    length = _Same(Inspector.length)
    queued = _Same(Inspector.queued)
    timestamps = _Same(Inspector.timestamps)
    all_delayed = _Same(Inspector.all_delayed)
    workers = _Same(Inspector.workers)
    working_on = _Same(Inspector.working_on, worker_name="worker")
    all_working_on = _Same(Inspector.all_working_on)
    clean_old_workers = _Same(Inspector.clean_old_workers)
    failed_count = _Same(Inspector.failed_count)
    failed = _Same(Inspector.failed)
    remove_failed = _Same(Inspector.remove_failed, failed_job="entry")
    retry_and_remove_failed = _Same(Inspector.retry_and_remove_failed, failed_job="entry")
    locks = _Same(Inspector.locks)
    del_lock = _Same(Inspector.del_lock, lock_name="name")
    stats = _Same(Inspector.stats)
    details = _Same(Inspector.details)

    async def delayed_at(self, timestamp: Moment, start: int = 0, stop: int = -1) -> list[Job]:
        """The jobs due at a time, in order; all of them by default."""
        return await self.inspector.delayed_at(timestamp, start, stop)

    def _name(self, task: Any) -> str:
        """A name is used unchanged: jobs of tasks that are defined elsewhere can be found too."""
        return task if isinstance(task, str) else self._registry.task(task).name

    def _args(self, task: Any, args: Args) -> list[Any]:
        """The arguments in a job of a task, of inputs by name or as they are."""
        foreign = isinstance(task, str) and task not in self._registry.tasks
        if task is None or foreign or not (args is None or isinstance(args, Mapping)):
            return as_args(args)
        return args_of(self._registry.task(task), to_json(dict(args or {})))


def as_args(args: Args) -> list[Any]:
    """A job's arguments from a dict of inputs; a list is a foreign client's.

    Raises:
        InvalidInputs: it is neither.
    """
    if args is None:
        return [{}]
    if isinstance(args, str | bytes) or not isinstance(args, Mapping | Sequence):
        raise InvalidInputs(f"the inputs are {args!r}, neither a dict nor a list")
    made: list[Any] = to_json([args] if isinstance(args, Mapping) else list(args))
    return made
