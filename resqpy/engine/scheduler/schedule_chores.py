"""The chores of a scheduler that fire schedules, with the enqueue hooks of the tasks.

Locks are checked in the script that enqueues. Hooks run before it, so **they run at least once**: a leader
that dies in between leaves the job to its successor, which runs them again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from resqpy.base.concurrency.own_tasks import raise_if_cancelled
from resqpy.engine.options import LeaderOptions
from resqpy.engine.plugin import Enqueuing
from resqpy.engine.queue.queue import Queue
from resqpy.schedules.ruby import QueueOf, RubySource
from resqpy.schedules.schedule import Emit, ScheduleChore, Source
from resqpy.schedules.tasks import Announcer, CronSource, FrequencySource
from resqpy.store.queues import Guard


class ScheduleHooks:
    """Calls the enqueue hooks of a task whose job the leader enqueues.

    Args:
        queue: has the tasks.
        emit: the scheduler's.
    """

    def __init__(self, queue: Queue, emit: Emit) -> None:
        self._queue = queue
        self._emit = emit

    def guards(self, queue: str, name: str, args: Sequence[Any]) -> Sequence[Guard]:
        """The locks to check in the script."""
        return self._queue.guards(queue, name, args)

    async def allowed(
        self, queue: str, name: str, args: Sequence[Any], *, fixed: bool
    ) -> Sequence[Any] | None:
        """The arguments after the hooks; None: one forbids it, or raises."""
        job = Enqueuing(name, queue, list(args), self._queue, fixed=fixed)
        try:
            return job.args if await self._queue.before_enqueue(job) else None
        except BaseException as error:
            raise_if_cancelled(error)
            self._emit("error", error)
            return None

    async def enqueued(self, queue: str, name: str, args: Sequence[Any], at_ms: int) -> None:
        """Call the hooks and the listeners of `enqueue` (ms, job)."""
        self._emit("enqueue", at_ms, {"class": name, "queue": queue, "args": list(args)})
        try:
            await self._queue.after_enqueue(Enqueuing(name, queue, list(args), self._queue))
        except BaseException as error:
            raise_if_cancelled(error)
            self._emit("error", error)


def schedule_chores(
    queue: Queue, announcer: Announcer, options: LeaderOptions, emit: Emit
) -> list[ScheduleChore]:
    """One per kind of schedule, so that none waits for another.

    Args:
        announcer: this process'.
        emit: the scheduler's. Events: `enqueue` and `re_enqueue` (ms, job), `error`.
    """
    sources: list[Source] = [
        FrequencySource(queue.store, announcer, emit),
        CronSource(queue.store, announcer),
        ruby_source(queue, options, lambda error: emit("error", error)),
    ]
    hooks = ScheduleHooks(queue, emit)
    return [ScheduleChore(queue.store, each, hooks, emit, options.timeout_s) for each in sources]


def ruby_source(
    queue: Queue, options: LeaderOptions, on_error: Callable[[Exception], None]
) -> RubySource:
    """The source of Ruby's schedules with these options, and the queues of our tasks."""
    return RubySource(
        queue.store, task_queues(queue), options.ruby_timezone, options.ruby_env, on_error
    )


def task_queues(queue: Queue) -> QueueOf:
    """The queues of our tasks, by name."""
    return lambda name: getattr(queue.definitions.get(name), "queue", None)
