"""Enqueued and delayed jobs, found and deleted by task and inputs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from resqpy.base.model import Job
from resqpy.framework.api.api import api
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
        """The inputs; empty if the arguments are not one object, as in foreign jobs."""
        only = self.args[0] if len(self.args) == 1 else None
        return dict(only) if isinstance(only, Mapping) else {}


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
    """
    name = None if task is None else await _name(task)
    return [
        each
        async for each in _each()
        if name in (None, each.task) and (inputs is None or each.inputs == inputs)
    ]


async def delete_enqueued(task: Any, inputs: Mapping[str, Any] | None = None) -> int:
    """Delete the jobs of a task from all queues and all times; returns how many there were.

    Args:
        task: its name, class or decorated function.
        inputs: the complete inputs of the jobs to delete; None: all.

    Raises:
        UnknownTask: as `find_enqueued`.
    """
    store, deleted = api.resque.store, 0
    for queue, raw in {(each.queue, each.raw) for each in await find_enqueued(task, inputs)}:
        deleted += await queues.remove(store, queue, [raw])
        deleted += len(await delayed.remove(store, [raw]))
    return deleted


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
