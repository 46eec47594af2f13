"""Deletes waiting jobs: a part of the `Queue`."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from resqpy.base import codec, reading
from resqpy.base.codec import has_record
from resqpy.base.errors import UsageError
from resqpy.base.keys import Keys, check_queue_name
from resqpy.base.model import Job, UnreadableJob
from resqpy.base.reading import JobFilter
from resqpy.base.when import Moment, ceil_second, moment_ms
from resqpy.engine.inspect.walking import (
    ALL,
    WINDOW,
    Chosen,
    DelayedSearch,
    QueueRange,
    SearchResult,
    search_queue,
)
from resqpy.engine.plugin import Dequeuing, Enqueuing, limited
from resqpy.engine.role import Client
from resqpy.store import delayed, queues
from resqpy.store.connection.client import Store
from resqpy.store.delayed import Advance
from resqpy.store.queues import Moved
from resqpy.store.sweep import Item

if TYPE_CHECKING:
    from resqpy.engine.definition import Definitions
    from resqpy.engine.queue.queue import Queue


class Removing(Client):
    """Deletes queues, jobs and delayed jobs, whichever language wrote them."""

    definitions: Definitions

    async def del_queue(self, queue: str) -> int:
        """Delete a queue and all its jobs; returns how many there were."""
        return await queues.delete(self.store, queue)

    async def delete(
        self, queue: str, class_name: str, args: Sequence[Any] = (), count: int = 0
    ) -> int:
        """Remove jobs by name and arguments, whichever language wrote them.

        One round trip for jobs spelled as Ruby, Node and resqpy do, in a queue of up to a thousand jobs;
        beyond that all jobs are examined.

        Args:
            count: maximum number; 0: all; negative: from the tail.

        Returns:
            How many were removed; 0 if a plugin's hook forbids it.
        """
        job = Dequeuing(class_name, queue, list(args), self)
        return await self._with_hooks(job, partial(self._delete, queue, class_name, args, count))

    async def _delete(self, queue: str, class_name: str, args: Sequence[Any], count: int) -> int:
        wanted = JobFilter.of(class_name, args, queue)
        texts = wanted.texts()
        removed, head, parked = await queues.remove_and_look(
            self.store, queue, texts, count, WINDOW + 1
        )
        left = abs(count) - removed if count else None
        none_of_them = len(head) <= WINDOW and not any(wanted.means(raw, queue) for raw in head)
        if left == 0 or (none_of_them and not parked):
            return removed
        if count < 0:
            return removed + await self._delete_last(queue, wanted, left)
        return (
            removed
            + (await delete_jobs(self.store, queue, wanted, part=QueueRange(most=left))).done
        )

    async def _delete_last(self, queue: str, wanted: JobFilter, most: int | None) -> int:
        last: deque[Item] = deque(maxlen=most)

        async def keep(chosen: Chosen) -> set[int]:
            last.extend(chosen)
            return set()

        await search_queue(self.store, queue, wanted, keep)
        removed = 0
        while last:
            part = [last.pop() for _ in range(min(WINDOW, len(last)))]
            part.sort(key=lambda item: item.key)  # stable: from the tail of each list
            removed += len(await queues.drop(self.store, queue, part))
        return removed

    async def del_by_function(
        self, queue: str, class_name: str, start: int = 0, stop: int = -1
    ) -> int:
        """Remove all jobs of one task from a part of a queue, both ends included.

        One round trip per thousand jobs, safe while others enqueue and work. What is enqueued after this
        has begun stays.

        Returns:
            How many were removed; 0 if a plugin's hook forbids it.
        """
        if start < 0 or stop < -1:
            raise UsageError(f"del_by_function: {start}…{stop} counts from the end; not supported")
        part = QueueRange(start, None if stop < 0 else max(0, stop - start + 1))

        async def delete() -> int:
            return (await delete_jobs(self.store, queue, JobFilter(class_name), part=part)).done

        return await self._with_hooks(Dequeuing(class_name, queue, None, self), delete)

    async def _with_hooks(self, job: Dequeuing, remove: Callable[[], Awaitable[int]]) -> int:
        task, doing = self.definitions.get(job.class_name), f"removing jobs of {job.class_name!r}"
        hooks = () if task is None else task.dequeue_hooks
        for plugin in hooks:
            if await limited(plugin, plugin.before_dequeue(job), doing) is False:
                return 0
        job.removed = await remove()
        for plugin in hooks:
            await limited(plugin, plugin.after_dequeue(job), doing)
        return job.removed

    # -- delayed --

    async def del_delayed(self, queue: str, class_name: str, args: Sequence[Any] = ()) -> list[int]:
        """Remove a job from all times at which it is due, whichever language wrote it.

        One round trip if nothing else is delayed. Otherwise all delayed jobs are examined, because the job
        may be spelled differently: one more round trip per five hundred times at which something is due.

        Returns:
            The times at which it was due, in milliseconds since the epoch, sorted.
        """
        wanted = JobFilter.of(class_name, args, queue)
        removed = await delayed.remove_and_look(self.store, wanted.texts())
        seconds = set(removed.seconds)
        if any(
            int(each) not in removed.emptied for each in filter(delayed.is_second, removed.index)
        ):
            walk = _removing_walk(self.store, wanted)
            walked = await walk.everywhere(but=removed.emptied)
            seconds |= walked.times
        return [second * 1000 for second in sorted(seconds)]

    async def del_delayed_by_function(
        self, class_name: str, *, queue: str | None = None, args: Sequence[Any] | None = None
    ) -> int:
        """Remove the delayed jobs of one task, whenever they are due; returns how many.

        A few round trips for a few hundred times, safe while others enqueue and a scheduler works. What is
        enqueued after this has begun may stay.

        Args:
            queue: only jobs for this queue; None: any.
            args: only jobs with these arguments; None: any.
        """
        return (await delete_delayed_jobs(self.store, JobFilter.of(class_name, args, queue))).done

    async def del_delayed_at(self, timestamp: Moment) -> int:
        """Remove everything that is due at one time; returns how many jobs there were.

        Args:
            timestamp: milliseconds or an aware datetime; rounded up to a second, as in `enqueue_at`.
        """
        return await delayed.remove_at(self.store, ceil_second(moment_ms(timestamp)))


async def delete_jobs(
    store: Store, queue: str, wanted: JobFilter, *, part: QueueRange = ALL, dry_run: bool = False
) -> SearchResult:
    """Remove the matching jobs of a queue, or only count them."""

    async def drop(chosen: Chosen) -> set[int]:
        gone = await queues.drop(store, queue, chosen)
        return {item.index for item in gone}

    return await search_queue(store, queue, wanted, None if dry_run else drop, part=part)


async def delete_delayed_jobs(
    store: Store, wanted: JobFilter, *, at: Moment | None = None, dry_run: bool = False
) -> SearchResult:
    """Remove the matching delayed jobs, or only count them; at all times, or at one."""
    walk = DelayedSearch(store, wanted) if dry_run else _removing_walk(store, wanted)
    if at is None:
        return await walk.everywhere()
    second = ceil_second(moment_ms(at))
    walked = await walk.at(second)
    if walked.done:
        await delayed.forget_empty(store, second)
    return walked


def _removing_walk(store: Store, wanted: JobFilter) -> DelayedSearch:
    async def drop(second: int, chosen: Chosen) -> set[int]:
        return await delayed.drop(store, second, chosen)

    return DelayedSearch(store, wanted, drop)


# Moves waiting jobs from one queue to another: a part of the `Queue`.


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


def why_not_alone(job: Job) -> str:
    """Why a delayed job can't be run or removed without its record; "": it can."""
    if isinstance(job, UnreadableJob) or not has_record(job.args):
        return ""
    return "its task has a record: run, cancel or remove that task instead"


# Runs delayed jobs now, with the enqueue hooks and locks of their tasks.


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
        act = None if dry_run else self.advance
        walk = DelayedSearch(self._queue.store, wanted, act, but=self.stays, most=most)
        if at is None:
            return await walk.everywhere()
        return await walk.at(ceil_second(moment_ms(at)))

    def stays(self, job: Job) -> bool:
        """Whether a job can't be run early: it is unreadable, a tracked task's, or names no queue."""
        return bool(self.why_it_stays(job))

    def why_it_stays(self, job: Job) -> str:
        """Why a job can't be run early; "": it can."""
        if isinstance(job, UnreadableJob):
            return f"the job can't be read: {job.problem}"
        return why_not_alone(job) or ("" if self._queue_of(job) else "it names no queue")

    def _queue_of(self, job: Job) -> str:
        task = self._queue.definitions.get(job.class_name)
        return job.queue or getattr(task, "queue", None) or ""

    async def advance(self, second: int, chosen: Chosen) -> set[int]:
        """Move just-read jobs of a second, none of which `stays`; returns the indices of those moved."""
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
