"""Moves waiting jobs from one queue to another: a part of the `Queue`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from resqpy.base import codec, reading
from resqpy.base.codec import has_record
from resqpy.base.errors import UsageError
from resqpy.base.job_filter import JobFilter
from resqpy.base.keys import Keys, check_queue_name
from resqpy.base.model import Job, UnreadableJob
from resqpy.engine.inspect.walking import Chosen, QueueRange, SearchResult, search_queue
from resqpy.store import queues
from resqpy.store.connection.client import Store
from resqpy.store.queues import Moved
from resqpy.store.sweep import Item


class Moving:
    """Moves jobs, whichever language wrote them."""

    store: Store

    async def move(
        self,
        queue: str,
        to_queue: str,
        class_name: str | None = None,
        args: Sequence[Any] | None = None,
        most: int | None = None,
    ) -> int:
        """Move waiting jobs to the tail of another queue, in order, with their exact bytes except the name
        of the queue. Each is always in exactly one of the two queues.

        One round trip for a few hundred jobs, safe while others enqueue and work; what is enqueued after
        this has begun stays. The lock of a QueueLock moves with its job; a job stays if an equal one
        already waits in the other queue under such a lock. Tracked tasks stay, because their records name
        their queue.

        Args:
            class_name: only jobs of this task; None: all, including unreadable ones.
            args: only jobs with these arguments; None: any.
            most: at most this many; None: all.

        Returns:
            How many were moved.

        Raises:
            InvalidQueueName: no job may be enqueued in the other queue.
            UsageError: both are the same.
        """
        if check_queue_name(to_queue) == queue:
            raise UsageError(f"source and target are the same queue, {queue!r}")
        wanted = JobFilter.of(class_name, args)
        return (await move_jobs(self.store, queue, to_queue, wanted, most=most)).done


async def move_jobs(
    store: Store,
    queue: str,
    to_queue: str,
    wanted: JobFilter,
    *,
    most: int | None = None,
    dry_run: bool = False,
) -> SearchResult:
    """Move the matching jobs, as `Queue.move` does, or only count them."""
    if check_queue_name(to_queue) == queue:
        raise UsageError(f"source and target are the same queue, {queue!r}")

    async def move(chosen: Chosen) -> set[int]:
        moved = [_moved(store.keys, each, queue, to_queue) for each in chosen]
        return await queues.move(store, queue, to_queue, moved)

    act = None if dry_run else move
    return await search_queue(store, queue, wanted, act, part=QueueRange(most=most), but=_recorded)


def _recorded(job: Job) -> bool:
    return has_record(job.args)


def _moved(keys: Keys, item: Item, queue: str, to_queue: str) -> Moved:
    job = reading.show_job(item.raw, queue)
    if isinstance(job, UnreadableJob):
        return Moved(item, item.raw)
    args = codec.lock_args(job.args)
    return Moved(
        item,
        codec.for_queue(item.raw, to_queue),
        keys.queue_lock(job.class_name, queue, args),
        keys.queue_lock(job.class_name, to_queue, args),
    )
