"""Reads and repairs: counts, lists and cleans up what is in Redis, whoever wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from resqpy.base import reading
from resqpy.base.clock import SYSTEM_CLOCK, Clock
from resqpy.base.model import WorkingOn
from resqpy.engine.inspect.failed_jobs import FailedJobs
from resqpy.engine.inspect.waiting_jobs import WaitingJobs
from resqpy.engine.inspect.worker_care import WorkerCare
from resqpy.engine.queue.queue import Queue
from resqpy.engine.role import Connection
from resqpy.store import locks, overview


class Details(TypedDict):
    """The whole installation at a glance.

    Keys:
        queues: number of waiting jobs by queue. workers: the job of each worker, by full id; None if idle.
            stats: counters, global and of the registered workers. leader: which scheduler leads. failed:
            failed jobs in all failed lists. delayed: times at which something is due.
    """

    queues: dict[str, int]
    workers: dict[str, WorkingOn | None]
    stats: dict[str, int]
    leader: str | None
    failed: int
    delayed: int


class Inspector(WaitingJobs, FailedJobs, WorkerCare):
    """Everything that can be read and repaired: node-resque's verbs with Python names, and more.

    Lists are bounded; iterations over everything are async iterators (`each_queued`, `each_delayed`,
    `each_failed`). Numbers are milliseconds. Nothing here runs a job.

    Args:
        queue: a `Queue`, whose connection and plugins are shared; or a `Store`, `RedisOptions` or URL, for
            a separate connection.
    """

    async def locks(self) -> dict[str, str]:
        """The locks of QueueLock and JobLock by name, with the epoch second at which each expires.

        They have no index: this scans all keys of the database, in steps.
        """
        return await locks.every(self.store)

    async def del_lock(self, name: str) -> int:
        """Delete a lock by the name in `locks`; returns how many there were (0 or 1)."""
        return await locks.delete(self.store, name)

    async def stats(self) -> dict[str, int]:
        """All counters: `processed`, `failed`, and both for each worker that ever existed.

        They have no index: this scans all keys of the database, in steps; `details` has those of the
        registered workers without a scan.
        """
        return await overview.counters(self.store)

    async def leader(self) -> str | None:
        """Which scheduler leads, by its name in Node's lock, else in Ruby's; None: nobody."""
        return await overview.leader(self.store)

    async def details(self) -> Details:
        """Queues with lengths, workers and their jobs, counters, leader. Two round trips."""
        seen = await overview.look(self.store)
        return {
            "queues": seen.queues,
            "workers": {each: reading.show_record(each, raw) for each, raw in seen.records.items()},
            "stats": seen.stats,
            "leader": seen.leader,
            "failed": seen.failed,
            "delayed": seen.delayed,
        }


# One object for both sides: enqueue and delete, read and repair.


class Resque(Queue, Inspector):
    """A `Queue` and an `Inspector` on one connection; takes what `Queue` takes."""

    def __init__(
        self,
        connection: Connection = None,
        jobs: Mapping[str, Any] | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        Queue.__init__(self, connection, jobs, clock)
        Inspector.__init__(self, self)
