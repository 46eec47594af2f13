"""Failed jobs: the part of the `Inspector` that lists, removes and retries them.

An entry is identified by its exact bytes, whoever wrote it, and its job goes back with its exact text:
nothing is rounded, renamed or dropped (traps 15, 16, 23).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from typing import TypeVar

from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.errors import NotInFailed, StoreError, UsageError
from resqpy.base.foreign_time import moment_of
from resqpy.base.keys import FAILED
from resqpy.base.model import FailedJob
from resqpy.engine.inspect.failed_groups import FailedGroup, grouped
from resqpy.engine.inspect.inspecting import Inspecting
from resqpy.engine.queue.retrying import Retrying, Wanted
from resqpy.store import failures
from resqpy.store.sweep import Sweep, every

T = TypeVar("T")
_PARTS_A_SECOND = 10
Names = str | Sequence[str] | None


class Pace:
    """Rate limiter for bulk operations.

    Args:
        rate: operations per second; None: unlimited.

    Raises:
        UsageError: the rate is not above 0.
    """

    def __init__(self, rate: float | None) -> None:
        if rate is not None and not rate > 0:
            raise UsageError(f"rate {rate!r}: pass a number above 0 (per second), or None")
        self._rate = rate
        self._due_s = SYSTEM_CLOCK.monotonic()

    def parts(self, things: Sequence[T]) -> Iterator[Sequence[T]]:
        """The items in parts, with a `rest` between them."""
        step = len(things) if self._rate is None else int(self._rate / _PARTS_A_SECOND)
        step = max(1, step)
        for start in range(0, len(things), step):
            yield things[start : start + step]

    async def rest(self, done: int) -> None:
        """Wait for the time that `done` operations may take; delays are not made up for."""
        if self._rate is None or not done:
            return
        now_s = SYSTEM_CLOCK.monotonic()
        self._due_s = max(self._due_s, now_s - 1 / _PARTS_A_SECOND) + done / self._rate
        await asyncio.sleep(max(0.0, self._due_s - now_s))


class FailedJobs(Inspecting):
    """Lists, removes and retries failed jobs in all failed lists.

    There is one list unless Ruby uses its RedisMultiQueue backend (`failed_lists`); a `FailedJob` knows its
    list.
    """

    # -- reading --

    async def failed_lists(self) -> dict[str, int]:
        """The failed lists and how many entries each has; `failed` comes first."""
        return await failures.lists(self.store)

    async def failed_count(self) -> int:
        """How many failed jobs there are."""
        return sum((await self.failed_lists()).values())

    async def failed(self, start: int = 0, stop: int = 99) -> list[FailedJob]:
        """Failed jobs by position, oldest first, both ends included; -1 is the last.

        The first hundred by default. Several lists count as one, concatenated.
        """
        lists = await self.failed_lists()
        if len(lists) == 1:
            return await failures.page(self.store, FAILED, start, stop)
        found: list[FailedJob] = []
        for name, first, last in _parts(lists, start, stop):
            found += await failures.page(self.store, name, first, last)
        return found

    async def each_failed(
        self, *, class_name: Names = None, exception: Names = None, queue: Names = None
    ) -> AsyncGenerator[FailedJob, None]:
        """All jobs that have failed by now, oldest first, page by page, optionally filtered.

        Entries may be removed meanwhile: no others are missed.
        """
        async with aclosing(
            self._each(Wanted.of(class_name, exception, queue), with_job=True)
        ) as entries:
            async for entry in entries:
                yield entry

    async def failed_groups(
        self, *, class_name: Names = None, exception: Names = None, queue: Names = None
    ) -> list[FailedGroup]:
        """All failed jobs, or some, by task and exception, the largest group first.

        One pass in bounded memory: everything beyond a thousand groups is one group.
        """
        wanted = Wanted.of(class_name, exception, queue)
        return await grouped(self._each(wanted, with_job=False))

    async def _each(self, wanted: Wanted, *, with_job: bool) -> AsyncGenerator[FailedJob, None]:
        for name in await self.failed_lists():
            async for raw in every(self.store, self.store.keys.failed_list(name)):
                if (entry := wanted.entry(raw, name, with_job=with_job)) is not None:
                    yield entry

    # -- single entries --

    async def remove_failed(self, entry: FailedJob | bytes) -> int:
        """Remove an entry (or one with these exact bytes); returns how many were removed: 0 or 1.

        One round trip. Data kept separately for it is removed too.
        """
        entry = self._entry(entry)
        words = await failures.settle(self.store, entry.source, [failures.EntryAction(entry)])
        return words.count("removed")

    async def retry_and_remove_failed(
        self, entry: FailedJob | bytes, queue: str | None = None
    ) -> bool:
        """Move the job of an entry back to the tail of its queue, with its exact bytes.

        Entry and job change in one step: the job is never in both places, nor in none. The enqueue hooks
        and locks of its task's plugins are checked first.

        Args:
            queue: another queue than the one it failed in.

        Returns:
            False if a plugin forbade it; then the entry stays (node-resque loses the job).

        Raises:
            NotInFailed: the entry no longer exists.
            UsageError: the entry names no queue, or has no job.
            StoreError: the key of the queue is not a list.
        """
        entry = self._entry(entry)
        [word] = await Retrying(self._queue).all(entry.source, [(-1, entry)], queue, strict=True)
        if word == "lost":
            raise NotInFailed("the bytes of this job, which were kept separately, are gone")
        if word == "absent":
            raise NotInFailed
        if word == "no list":
            raise StoreError(
                f"the queue {queue or entry.queue!r} is not a list in Redis, so no job can go there; choose "
                "another: retry_and_remove_failed(entry, queue='…'), or --to-queue"
            )
        return word == "retried"

    @staticmethod
    def _entry(entry: FailedJob | bytes) -> FailedJob:
        if isinstance(entry, bytes):
            return Wanted().read(entry, FAILED)
        if not isinstance(entry, FailedJob):
            raise UsageError(f"{entry!r} is not a failed job; pass an entry of `failed()`")
        return entry

    # -- many entries --

    async def remove_all_failed(
        self, *, class_name: Names = None, exception: Names = None, queue: Names = None
    ) -> int:
        """Remove all failed jobs, or those of some tasks, exceptions or queues; returns how many.

        One round trip for a few hundred entries, safe while others fail. What fails after this has begun
        stays, unless everything is removed.
        """
        wanted = Wanted.of(class_name, exception, queue)
        removed = 0
        for name in await self.failed_lists():
            if wanted.everything:
                removed += await failures.clear(self.store, name)
                continue
            sweep = Sweep(self.store, self.store.keys.failed_list(name))
            while page := await sweep.page():
                chosen = wanted.choose(page, name)
                settlings = [failures.EntryAction(entry, index) for index, entry in chosen]
                words = await failures.settle(self.store, name, settlings)
                sweep.removed(_settled(chosen, words))
                removed += words.count("removed")
        return removed

    async def retry_all_failed(
        self,
        *,
        class_name: Names = None,
        exception: Names = None,
        queue: Names = None,
        to_queue: str | None = None,
        rate: float | None = None,
        retried: bool = False,
    ) -> int:
        """Retry all failed jobs, or those of some tasks, exceptions or queues; returns how many.

        In the order in which they failed; two round trips for a few hundred entries. What can't be retried
        stays: no queue, no job, or a plugin that forbids it. What fails after this has begun is not
        retried, so a job that fails again immediately does no harm.

        Args:
            to_queue: another queue than those in which they failed.
            rate: at most this many per second, evenly spaced; None: unlimited.
            retried: include those that Ruby has retried already, which it leaves in the list.
        """
        wanted = Wanted.of(class_name, exception, queue, retried=retried)
        return await self._retry_all(wanted, to_queue, pace=Pace(rate))

    async def retry_stuck_jobs(self, upper_limit: int | None = None) -> int:
        """Retry the jobs whose workers were cleaned up by force, by Node or by us; returns how many.

        Args:
            upper_limit: examine at most this many failed jobs.
        """
        return await self._retry_all(Wanted(only_stuck=True, retried=False), most=upper_limit)

    async def _retry_all(
        self,
        wanted: Wanted,
        to_queue: str | None = None,
        *,
        most: int | None = None,
        pace: Pace | None = None,
    ) -> int:
        retrying, retried, pace = Retrying(self._queue), 0, pace or Pace(None)
        for name in await self.failed_lists():
            sweep = Sweep(self.store, self.store.keys.failed_list(name), most=most)
            while page := await sweep.page():
                gone: set[int] = set()
                for part in pace.parts(wanted.choose(page, name)):
                    words = await retrying.all(name, part, to_queue)
                    gone |= _settled(part, words)
                    await pace.rest(words.count("retried"))
                sweep.removed(gone)
                retried += len(gone)
        return retried


async def failed_of(jobs: FailedJobs, class_name: str) -> tuple[int, FailedJob | None]:
    """How many jobs of a task have failed, and the last of them: one pass in bounded memory that reads only
    the class of each entry.
    """
    wanted, number, lasts = Wanted.of(class_name, None, None), 0, list[FailedJob]()
    for name in await jobs.failed_lists():
        last: bytes | None = None
        async for raw in every(jobs.store, jobs.store.keys.failed_list(name)):
            if wanted.names(raw):
                number, last = number + 1, raw
        if last is not None:
            lasts.append(Wanted.read(last, name))
    return number, max(lasts, key=lambda each: moment_of(each.failed_at) or 0, default=None)


def _settled(chosen: Sequence[tuple[int, FailedJob]], words: Sequence[str]) -> set[int]:
    gone = zip(chosen, words, strict=True)
    return {index for (index, _), word in gone if word in ("removed", "retried")}


def _parts(lists: dict[str, int], start: int, stop: int) -> list[tuple[str, int, int]]:
    """Which part of each list is between two positions in all lists together."""
    total, before = sum(lists.values()), 0
    start = max(0, start + total) if start < 0 else start
    stop = stop + total if stop < 0 else stop
    found = []
    for name, length in lists.items():
        first, last = max(start - before, 0), min(stop - before, length - 1)
        if first <= last:
            found.append((name, first, last))
        before += length
    return found
