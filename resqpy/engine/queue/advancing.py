"""Runs delayed jobs now, with the enqueue hooks and locks of their tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resqpy.base import reading
from resqpy.base.codec import has_record
from resqpy.base.job_filter import JobFilter
from resqpy.base.model import Job, UnreadableJob
from resqpy.base.when import Moment, ceil_second, moment_ms
from resqpy.engine.inspect.walking import Chosen, DelayedSearch, SearchResult
from resqpy.engine.plugin import Enqueuing
from resqpy.store import delayed
from resqpy.store.delayed import Advance
from resqpy.store.sweep import Item

if TYPE_CHECKING:
    from resqpy.engine.queue.queue import Queue


class Advancing:
    """Moves delayed jobs to their queues early, whichever language wrote them.

    Args:
        queue: has the tasks.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    async def walk(
        self,
        wanted: JobFilter,
        *,
        at: Moment | None = None,
        most: int | None = None,
        dry_run: bool = False,
    ) -> SearchResult:
        """Move the matching jobs, or only count them; at all times, or at one."""
        act = None if dry_run else self._advance
        walk = DelayedSearch(self._queue.store, wanted, act, but=self._stays, most=most)
        if at is None:
            return await walk.everywhere()
        return await walk.at(ceil_second(moment_ms(at)))

    def _stays(self, job: Job) -> bool:
        return isinstance(job, UnreadableJob) or has_record(job.args) or not self._queue_of(job)

    def _queue_of(self, job: Job) -> str:
        task = self._queue.definitions.get(job.class_name)
        return job.queue or getattr(task, "queue", None) or ""

    async def _advance(self, second: int, chosen: Chosen) -> set[int]:
        asked = [
            (item, context)
            for item in chosen
            if await self._queue.before_enqueue(context := self._context(item))
        ]
        moved = await delayed.advance(
            self._queue.store, second, [self._step(*each) for each in asked]
        )
        for item, context in asked:
            if item.index in moved:
                await self._queue.after_enqueue(context)
        return moved

    def _context(self, item: Item) -> Enqueuing:
        job = reading.show_delayed(item.raw)
        return Enqueuing(job.class_name, self._queue_of(job), job.args, self._queue, fixed=True)

    def _step(self, item: Item, job: Enqueuing) -> Advance:
        return Advance(item, job.queue, self._queue.guards(job.queue, job.class_name, job.args))
