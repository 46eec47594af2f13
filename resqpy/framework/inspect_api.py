"""The part of `api.tasks` that looks and repairs, whatever the task: workers, failed jobs, locks."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from resqpy.base.errors import UsageError
from resqpy.base.imports import near_match
from resqpy.base.model import FailedJob, Job, WorkerId, WorkingOn
from resqpy.base.when import Duration, Moment
from resqpy.engine.inspector import Details, Inspector
from resqpy.engine.plugin import snake_case
from resqpy.framework.resque import Resque


class InspectApi:
    """Looks and repairs; `inspector` has more of it, with filters and iterators."""

    def __init__(self, resque: Resque) -> None:
        self.inspector: Inspector = resque.inspector

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            names = [each for each in dir(self) if not each.startswith("_")]
            hint = near_match(snake_case(name), names)
            raise AttributeError(f"api.tasks has no {name!r}{hint}", name=name, obj=self)

    # -- queues and delayed jobs --

    async def queues(self) -> list[str]:
        """The names of all queues."""
        return await self.inspector.queues()

    async def length(self, queue: str) -> int:
        """How many jobs wait in a queue."""
        return await self.inspector.length(queue)

    async def queued(self, queue: str, start: int = 0, stop: int = 99) -> list[Job]:
        """The jobs that wait in a queue, by position, both ends included."""
        return await self.inspector.queued(queue, start, stop)

    async def timestamps(self, start: int = 0, stop: int = 999) -> list[int]:
        """The times at which something is due: milliseconds since the epoch, earliest first."""
        return await self.inspector.timestamps(start, stop)

    async def delayed_at(self, timestamp: Moment) -> list[Job]:
        """The jobs that are due at a time."""
        return await self.inspector.delayed_at(timestamp, 0, -1)

    async def all_delayed(self, limit: int = 1000) -> dict[int, list[Job]]:
        """The delayed jobs by their time in milliseconds."""
        return await self.inspector.all_delayed(limit)

    # -- workers --

    async def workers(self) -> dict[str, WorkerId]:
        """All task processors, by full id."""
        return await self.inspector.workers()

    async def working_on(self, worker_name: str, queues: str | None = None) -> WorkingOn | None:
        """What a task processor works on; None if it waits."""
        return await self.inspector.working_on(worker_name, queues)

    async def all_working_on(self) -> dict[str, WorkingOn | None]:
        """What all task processors work on, by full id."""
        return await self.inspector.all_working_on()

    async def clean_old_workers(self, age: Duration) -> dict[str, FailedJob]:
        """Remove workers whose job runs for longer than `age` (milliseconds or a timedelta), and
        move their jobs to the failed list; the failed entries by worker.
        """
        return await self.inspector.clean_old_workers(age)

    # -- failed jobs --

    async def failed_count(self) -> int:
        """How many failed jobs there are."""
        return await self.inspector.failed_count()

    async def failed(self, start: int = 0, stop: int = 99) -> list[FailedJob]:
        """Failed jobs by position, oldest first, both ends included."""
        return await self.inspector.failed(start, stop)

    async def remove_failed(self, failed_job: FailedJob) -> int:
        """Remove one of `failed`; how many were removed: 0 or 1."""
        return await self.inspector.remove_failed(_entry(failed_job))

    async def retry_and_remove_failed(self, failed_job: FailedJob) -> bool:
        """Enqueue the job of one of `failed` again, and remove it there; False if a plugin forbade."""
        return await self.inspector.retry_and_remove_failed(_entry(failed_job))

    # -- the whole --

    async def locks(self) -> dict[str, str]:
        """The locks of queues and workers, with the epoch second at which each ends."""
        return await self.inspector.locks()

    async def del_lock(self, lock_name: str) -> int:
        """Delete a lock; how many there were: 0 or 1."""
        return await self.inspector.del_lock(lock_name)

    async def stats(self) -> dict[str, int]:
        """All counters."""
        return await self.inspector.stats()

    async def details(self) -> Details:
        """Queues with lengths, workers with what they do, counters, leader."""
        return await self.inspector.details()


def _entry(failed_job: object) -> FailedJob:
    if not isinstance(failed_job, FailedJob):
        raise UsageError(f"{failed_job!r} is no failed job; give an entry of `api.tasks.failed()`")
    return failed_job
