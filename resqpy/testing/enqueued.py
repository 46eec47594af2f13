"""Enqueued and delayed jobs, found and deleted by task and inputs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple

from resqpy.base.codec import TASK_ID
from resqpy.base.errors import InvalidInputs, UsageError
from resqpy.base.events import Emitter
from resqpy.base.json_forms import to_json
from resqpy.base.model import Job
from resqpy.engine.definition import Definition, define
from resqpy.framework.api.api import api
from resqpy.framework.tasks.arguments import args_of, named_args
from resqpy.framework.tasks.middleware import performer
from resqpy.framework.tasks.resources import REPLACED, Resource
from resqpy.framework.tasks.spec import TaskSpec, resource_spec
from resqpy.store import delayed, queues


@dataclass(frozen=True, slots=True)
class EnqueuedJob:
    """A waiting job.

    Attributes:
        task: the task's name.
        args: the job's arguments, as stored in Redis.
        timestamp: when it is due, in milliseconds since the epoch; None: it is in its queue.
        raw: its exact text in Redis.
    """

    task: str
    args: list[Any]
    queue: str
    timestamp: int | None = None
    raw: bytes = field(default=b"", repr=False, compare=False)

    @classmethod
    def of(cls, job: Job, timestamp: int | None = None) -> EnqueuedJob:
        """From a job that was read."""
        return cls(job.class_name, job.args, job.queue, timestamp, job.raw)

    @property
    def inputs(self) -> dict[str, Any]:
        """The inputs by name; empty if they have none, as in foreign jobs."""
        only = self.args[0] if len(self.args) == 1 else None
        if isinstance(only, Mapping) or not self.args:
            return dict(only or {})
        return dict(named_args(api.registry.tasks.get(self.task), self.args) or {})


async def find_enqueued(
    task: Any = None, inputs: Mapping[str, Any] | None = None
) -> list[EnqueuedJob]:
    """The waiting jobs: those in queues first, in order, then delayed ones by time.

    The next run of a task with a frequency or a cron is not a job yet.

    Args:
        task: its name, class or decorated function; None: all.
        inputs: the complete inputs that a job must have; None: any.

    Raises:
        UnknownTask: with the nearest name; also for a foreign task without jobs in any queue.
        InvalidInputs: no job can have these: the task has no such input, or they are no dict.
    """
    name = None if task is None else await _name(task)
    if inputs is not None:
        _refuse_impossible(name, inputs)
    wanted = None if inputs is None else to_json(inputs)
    return [
        each
        async for each in _each()
        if name in (None, each.task) and wanted in (None, each.inputs)
    ]


async def delete_enqueued(task: Any, inputs: Mapping[str, Any] | None = None) -> int:
    """Delete the jobs of a task from all queues and all times; returns how many there were.

    Args:
        task: its name, class or decorated function.
        inputs: the complete inputs of the jobs to delete; None: all.

    Raises:
        UnknownTask, InvalidInputs: as `find_enqueued`.
    """
    store, deleted = api.resque.store, 0
    for queue, raw in {(each.queue, each.raw) for each in await find_enqueued(task, inputs)}:
        deleted += await queues.remove(store, queue, [raw])
        deleted += len(await delayed.remove(store, [raw]))
    return deleted


def _refuse_impossible(name: str | None, inputs: Any) -> None:
    """A misspelled input must not find "nothing" either."""
    if not isinstance(inputs, Mapping):
        raise InvalidInputs(f"the inputs of a job are a dict by name, got {inputs!r}")
    if name is not None and (task := api.registry.tasks.get(name)) is not None:
        task.inputs.refuse_unknown({each: inputs[each] for each in inputs if each != TASK_ID})


async def _each() -> AsyncIterator[EnqueuedJob]:
    inspector = api.resque.inspector
    for queue in await inspector.queues():
        async for job in inspector.each_queued(queue):
            yield EnqueuedJob.of(job)
    async for timestamp, job in inspector.each_delayed():
        yield EnqueuedJob.of(job, timestamp)


async def _name(task: Any) -> str:
    """A task of the project, or of the waiting jobs: a misspelled name must not find "nothing"."""
    if isinstance(task, str) and task not in api.registry.tasks:
        others = {each.task async for each in _each()}
        if task in others:
            return task
    name: str = api.registry.task(task).name
    return name


# Captures the events of workers and schedulers in a list.

# All events except those emitted at each check for work: request `poll` and `pause` by name.
USUAL = (
    "start",
    "end",
    "job",
    "success",
    "failure",
    "re_enqueue",
    "skipped",
    "snoozed",
    "expired",
    "error",
    "multi_worker_action",
    "leader",
    "follower",
    "enqueue",
    "working_timestamp",
    "transferred_job",
    "cleaning_worker",
    "clean_stuck_worker",
    "put_back",
    "failed_removed",
)


class Event(NamedTuple):
    """An emitted event.

    Attributes:
        args: the arguments of listeners.
    """

    name: str
    args: tuple[Any, ...]


@contextmanager
def capture_events(emitter: Emitter | None, *names: str) -> Iterator[list[Event]]:
    """Capture the events that a worker or a scheduler emits within the block.

    Args:
        emitter: `api.resque.multi_worker`, `api.resque.scheduler`, or one created by hand.
        names: which; default: all except `poll`, `ping` and `pause`.

    Raises:
        UsageError: it is None: the process has no such part.
    """
    if emitter is None:
        raise UsageError(
            "this process has no such part: start it with worker=True or scheduler=True"
        )
    events: list[Event] = []
    listeners = {name: _keeper(events, name) for name in names or USUAL}
    for name, listener in listeners.items():
        emitter.on(name, listener)
    try:
        yield events
    finally:
        for name, listener in listeners.items():
            emitter.off(name, listener)


def _keeper(events: list[Event], name: str) -> Callable[..., None]:
    def keep(*args: Any) -> None:
        events.append(Event(name, args))

    return keep


# Runs a task here and now, without a worker: ActionHero's `runTask` and `runFullTask`.


async def run_task(task: Any, inputs: Mapping[str, Any] | None = None) -> Any:
    """Run only a task's `run`, with its resources: inputs are checked, formatted and completed as before any
    run; plugins and middleware are not involved, and nothing is written to Redis.

    Args:
        task: its name, its class or the decorated function.

    Returns:
        What `run` returned, unchanged.

    Raises:
        UnknownTask: with the nearest name.
        InvalidInputs: all that is wrong with the inputs.
        Exception: whatever the task raised.
    """
    spec = api.registry.task(task)
    limit = spec.time_limit_ms
    bare = define(
        spec.name,
        performer(spec, api.registry.resources, middleware=False),
        time_limit=None if limit is None else timedelta(milliseconds=limit),
        check=api.registry.definitions[spec.name].check,
    )
    return await _perform(spec, bare, inputs)


async def run_full_task(task: Any, inputs: Mapping[str, Any] | None = None) -> Any:
    """Run a task as a worker does, with its plugins and its middleware, but now, and with its error raised
    instead of written to the failed list.

    Args:
        task: its name, its class or the decorated function.

    Returns:
        What it returned; None if a plugin or middleware prevented the run.

    Raises:
        UnknownTask, InvalidInputs: as in `run_task`.
        Exception: whatever the task raised, also if it would be retried.
    """
    spec = api.registry.task(task)
    return await _perform(spec, api.registry.definitions[spec.name], inputs)


async def _perform(spec: TaskSpec, definition: Definition, inputs: Mapping[str, Any] | None) -> Any:
    if inputs is not None:
        _refuse_impossible(spec.name, inputs)
    worker = api.resque.inline_worker({**api.registry.definitions, spec.name: definition})
    return await worker.perform_inline(spec.name, args_of(spec, inputs or {}))


@contextmanager
def override(resource: Callable[..., Any], replacement: Any) -> Iterator[None]:
    """Give tasks something else for a resource within the block, in this process.

    Args:
        resource: the generator function.
        replacement: what they get: a value; or another generator function, which is opened for each job, and
            may ask for resources.

    Raises:
        TypeError: the first is no resource.
        UsageError: the replacement can't be opened.
    """
    key = Resource.of(resource).function
    try:
        wanted: Any = resource_spec(Resource.of(replacement))
    except TypeError:
        wanted = replacement
    before = REPLACED.get(key, REPLACED)
    REPLACED[key] = wanted
    try:
        yield
    finally:
        if before is REPLACED:
            del REPLACED[key]
        else:
            REPLACED[key] = before
