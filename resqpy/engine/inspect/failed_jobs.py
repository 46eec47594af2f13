"""Failed jobs: the part of the `Inspector` that lists, removes and retries them.

An entry is identified by its exact bytes, whoever wrote it, and its job goes back with its exact text:
nothing is rounded, renamed or dropped (traps 15, 16, 23).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Self, TypeVar

from resqpy.base import codec, job_records
from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.codec import has_record
from resqpy.base.errors import NotInFailed, PayloadError, StoreError, UsageError
from resqpy.base.foreign_time import moment_of
from resqpy.base.keys import FAILED
from resqpy.base.model import FailedJob, Job
from resqpy.base.when import Duration, duration_ms
from resqpy.engine.inspect.inspecting import Inspecting
from resqpy.engine.plugin import Enqueuing
from resqpy.engine.queue.queue import Queue
from resqpy.store import failures
from resqpy.store.failures import EntryAction
from resqpy.store.sweep import Item, Sweep, every

# Failed jobs grouped by task and exception: a few lines for a hundred thousand entries.

MAX_GROUPS = 1000  # names that are unique for each job must not fill the memory


@dataclass(slots=True)
class FailedGroup:
    """The failed jobs of one task with one exception.

    Attributes:
        class_name: the task; None: entries without a readable job.
        exception: the exception; None: entries that name none.
        count: how many there are.
        first_ms, last_ms: when the first and the last of them failed, in milliseconds since the epoch; None
            if no entry has a time.
        example: one of them, the last.
        others: the group of everything beyond the thousandth, whatever task and exception.
    """

    class_name: str | None
    exception: str | None
    example: FailedJob
    count: int = 0
    first_ms: int | None = None
    last_ms: int | None = None
    others: bool = False

    def add(self, entry: FailedJob) -> None:
        """Count an entry."""
        self.count += 1
        failed_ms = moment_of(entry.failed_at)
        if failed_ms is None:
            return
        if self.first_ms is None or failed_ms < self.first_ms:
            self.first_ms = failed_ms
        if self.last_ms is None or failed_ms >= self.last_ms:
            self.last_ms, self.example = failed_ms, entry


async def grouped(entries: AsyncIterator[FailedJob]) -> list[FailedGroup]:
    """Groups of entries by task and exception, the largest first; the rest last."""
    groups: dict[tuple[str | None, str | None], FailedGroup] = {}
    others: FailedGroup | None = None
    async for entry in entries:
        name = entry.class_name or None, entry.exception or None
        if name in groups or len(groups) < MAX_GROUPS:
            group = groups.setdefault(name, FailedGroup(*name, entry))
        else:
            group = others = others or FailedGroup(None, None, entry, others=True)
        group.add(entry)
    found = sorted(groups.values(), key=lambda each: -each.count)
    return [*found, others] if others else found


# Selects failed jobs and puts them back into their queues.

Chosen = Sequence[tuple[int, FailedJob]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Filter for failed jobs; None means any.

    Attributes:
        retried: include those that Ruby has retried already and left in the list.
        only_retried: only those.
        before_ms: only those that failed before this time.
    """

    class_names: frozenset[str] | None = None
    exceptions: frozenset[str] | None = None
    queues: frozenset[str] | None = None
    only_stuck: bool = False
    retried: bool = True
    only_retried: bool = False
    before_ms: int | None = None

    @classmethod
    def of(
        cls,
        class_name: str | Sequence[str] | None,
        exception: str | Sequence[str] | None,
        queue: str | Sequence[str] | None,
        *,
        retried: bool = True,
    ) -> Self:
        """The filter for a user's arguments: one name or several of each kind."""
        return cls(_names(class_name), _names(exception), _names(queue), retried=retried)

    @property
    def everything(self) -> bool:
        """Whether everything matches."""
        return self == Wanted()

    def entry(self, raw: bytes, source: str, *, with_job: bool = True) -> FailedJob | None:
        """The entry, if it matches."""
        if not self._may_want(raw):
            return None
        data = codec.decode_lenient(raw)
        if self.class_names is not None and job_records.class_in(data) not in self.class_names:
            return None
        entry = job_records.failed_of(data, raw, source, with_job=with_job)
        return entry if self._wants(entry) else None

    def names(self, raw: bytes) -> bool:
        """Whether an entry has one of the wanted classes."""
        wanted = self.class_names or ()
        return self._may_want(raw) and job_records.class_in(codec.decode_lenient(raw)) in wanted

    def _may_want(self, raw: bytes) -> bool:
        """A quick check of the bytes: False only if the class can't be one of the wanted ones."""
        if self.class_names is None or b"\\" in raw:
            return True
        return any(each.encode("utf-8", "surrogateescape") in raw for each in self.class_names)

    def choose(self, page: Sequence[Item], source: str) -> list[tuple[int, FailedJob]]:
        """The matching entries among items of a list, with their indices."""
        read = ((item.index, self.entry(item.raw, source)) for item in page)
        return [(index, entry) for index, entry in read if entry is not None]

    @staticmethod
    def read(raw: bytes, source: str) -> FailedJob:
        """An entry from its bytes."""
        return job_records.decode_failed(raw, source)

    def _wants(self, entry: FailedJob) -> bool:
        return (
            (self.exceptions is None or entry.exception in self.exceptions)
            and (self.queues is None or _named_queue(entry) in self.queues)
            and (not self.only_stuck or entry.was_cleaned_by_force)
            and (self.retried or entry.retried_at is None)
            and (not self.only_retried or entry.retried_at is not None)
            and (self.before_ms is None or _failed_ms(entry) < self.before_ms)
        )


def _failed_ms(entry: FailedJob) -> float:
    """When it failed; where that can't be read, it is not old."""
    failed_ms = moment_of(entry.failed_at)
    return math.inf if failed_ms is None else failed_ms


def _names(given: str | Sequence[str] | None) -> frozenset[str] | None:
    if given is None:
        return None
    return frozenset([given] if isinstance(given, str) else given)


class Retrying:
    """Retries entries, applying the enqueue hooks and locks of their tasks."""

    def __init__(self, queue: Queue, beside: failures.Beside = failures.NOTHING) -> None:
        self._queue = queue
        self._beside = beside  # what is written in the same steps
        self.pushed: dict[str, bytes] = {}  # the last job that went into each queue

    async def all(
        self, source: str, chosen: Chosen, to_queue: str | None = None, *, strict: bool = False
    ) -> list[str]:
        """Retry entries of one list in one round trip, in order.

        Args:
            chosen: index (or -1) and entry.
            strict: raise if an entry can't be retried, instead of skipping it.

        Returns:
            For each what `failures.settle` says, "forbidden" by a hook, or "impossible": no queue or no job.
        """
        words, settlings, jobs = [""] * len(chosen), [], []
        for place, (index, entry) in enumerate(chosen):
            settling, context, words[place] = await self._prepare(index, entry, to_queue, strict)
            if settling is not None:
                settlings.append(settling)
                jobs.append((place, context))
        replies = await failures.settle(self._queue.store, source, settlings, self._beside)
        for (place, context), done, word in zip(jobs, settlings, replies, strict=True):
            words[place] = word
            if word == "retried":
                self.pushed[done.queue] = done.raw
            if word == "retried" and context is not None:
                await self._queue.after_enqueue(context)
        return words

    async def _prepare(
        self, index: int, entry: FailedJob, to_queue: str | None, strict: bool
    ) -> tuple[EntryAction | None, Enqueuing | None, str]:
        try:
            queue = _queue_of(entry, to_queue)
            raw = _bytes_of(entry, queue)
        except UsageError:
            if strict:
                raise
            return None, None, "impossible"
        job = _readable(raw, queue)
        # an unreadable job has no task whose plugins could be called; those of one with a record were
        if job is None or has_record(job.args):
            return EntryAction(entry, index, queue, raw), None, ""
        context = Enqueuing(job.class_name, queue, job.args, self._queue, fixed=True)
        if not await self._queue.before_enqueue(context):
            return None, None, "forbidden"
        guards = self._queue.guards(queue, job.class_name, job.args)
        return EntryAction(entry, index, queue, raw, guards), context, ""


def _named_queue(entry: FailedJob) -> str | None:
    """The queue of an entry, or else of the job in it."""
    in_job = entry.payload.get("queue") if isinstance(entry.payload, dict) else None
    return entry.queue or (in_job if isinstance(in_job, str) else None)


def _queue_of(entry: FailedJob, to_queue: str | None) -> str:
    queue = to_queue or _named_queue(entry)
    if not queue:
        raise UsageError("this failed entry names no queue; choose one: retry(entry, queue='…')")
    return queue


def _bytes_of(entry: FailedJob, queue: str) -> bytes:
    """The job to push; if it is kept separately, the script takes the bytes from there."""
    if entry.unreadable is not None:
        return b""
    raw = entry.job_raw
    if raw is None:
        raise UsageError(
            "this failed entry has no job that could be retried; `resqpy failed show` shows its content"
        )
    if entry.was_cleaned_by_force and entry.backtrace[2:] != ["resqpy"]:
        raw = codec.mend_args(raw)
    return codec.for_queue(raw, queue) if queue != entry.queue else raw


def _readable(raw: bytes, queue: str) -> Job | None:
    try:
        return codec.decode_job(raw, queue)
    except PayloadError:
        return None


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
        self,
        *,
        class_name: Names = None,
        exception: Names = None,
        queue: Names = None,
        older_than: Duration | None = None,
        only_retried: bool = False,
    ) -> AsyncGenerator[FailedJob, None]:
        """All jobs that have failed by now, oldest first, page by page, optionally filtered.

        Entries may be removed meanwhile: no others are missed.

        Args:
            older_than: milliseconds or a timedelta: only those that failed before that.
            only_retried: only those that Ruby has retried already, which it leaves in the list.
        """
        wanted = await self._wanted(
            class_name, exception, queue, older_than, only_retried=only_retried
        )
        async with aclosing(matching(self, wanted)) as entries:
            async for entry in entries:
                yield entry

    async def failed_groups(
        self, *, class_name: Names = None, exception: Names = None, queue: Names = None
    ) -> list[FailedGroup]:
        """All failed jobs, or some, by task and exception, the largest group first.

        One pass in bounded memory: everything beyond a thousand groups is one group.
        """
        wanted = Wanted.of(class_name, exception, queue)
        return await grouped(matching(self, wanted, with_job=False))

    async def _wanted(
        self,
        class_name: Names,
        exception: Names,
        queue: Names,
        older_than: Duration | None,
        *,
        only_retried: bool,
    ) -> Wanted:
        wanted = Wanted.of(class_name, exception, queue)
        if older_than is not None:
            age_ms = duration_ms(older_than, "older_than")
            wanted = replace(wanted, before_ms=await self.now_ms() - age_ms)
        return replace(wanted, only_retried=only_retried)

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
        self,
        *,
        class_name: Names = None,
        exception: Names = None,
        queue: Names = None,
        older_than: Duration | None = None,
        only_retried: bool = False,
    ) -> int:
        """Remove all failed jobs, or those of some tasks, exceptions, queues or ages; returns how many.

        One round trip for a few hundred entries, safe while others fail. What fails after this has begun
        stays, unless everything is removed.

        Args:
            older_than, only_retried: as in `each_failed`.
        """
        wanted = await self._wanted(
            class_name, exception, queue, older_than, only_retried=only_retried
        )
        if not wanted.everything:
            return await remove_some(self, wanted)
        return sum([await failures.clear(self.store, name) for name in await self.failed_lists()])

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
        retrying, pace = Retrying(self._queue), Pace(rate)
        return await retry_some(self, retrying, wanted, to_queue=to_queue, pace=pace)

    async def retry_stuck_jobs(self, upper_limit: int | None = None) -> int:
        """Retry the jobs whose workers were cleaned up by force, by Node or by us; returns how many.

        Args:
            upper_limit: examine at most this many failed jobs.
        """
        wanted = Wanted(only_stuck=True, retried=False)
        return await retry_some(self, Retrying(self._queue), wanted, visits=upper_limit)


async def matching(
    jobs: FailedJobs, wanted: Wanted, *, with_job: bool = True
) -> AsyncGenerator[FailedJob, None]:
    """The matching entries of all failed lists, the oldest first, page by page."""
    for name in await jobs.failed_lists():
        async for raw in every(jobs.store, jobs.store.keys.failed_list(name)):
            if (entry := wanted.entry(raw, name, with_job=with_job)) is not None:
                yield entry


Act = Callable[[str, Chosen], Awaitable[set[int]]]  # the indices of those that are gone


async def _sweep(
    jobs: FailedJobs, wanted: Wanted, act: Act, *, visits: int | None = None, most: int | None
) -> int:
    """Act on the matching entries of all failed lists, the oldest first, on at most so many; returns how many are
    gone. At most `visits` of each list are examined; None: those that are there now.
    """
    done = tried = 0
    for name in await jobs.failed_lists():
        sweep = Sweep(jobs.store, jobs.store.keys.failed_list(name), most=visits)
        while (most is None or tried < most) and (page := await sweep.page()):
            chosen = wanted.choose(page, name)[: None if most is None else most - tried]
            gone = await act(name, chosen)
            sweep.removed(gone)
            done, tried = done + len(gone), tried + len(chosen)
    return done


async def remove_some(
    jobs: FailedJobs,
    wanted: Wanted,
    *,
    most: int | None = None,
    beside: failures.Beside = failures.NOTHING,
) -> int:
    """Remove the matching entries, the oldest first, at most so many; returns how many."""

    async def act(name: str, chosen: Chosen) -> set[int]:
        settlings = [failures.EntryAction(entry, index) for index, entry in chosen]
        return _settled(chosen, await failures.settle(jobs.store, name, settlings, beside))

    return await _sweep(jobs, wanted, act, most=most)


async def retry_some(
    jobs: FailedJobs,
    retrying: Retrying,
    wanted: Wanted,
    *,
    to_queue: str | None = None,
    visits: int | None = None,
    most: int | None = None,
    pace: Pace | None = None,
) -> int:
    """Retry the matching entries, the oldest first, at most so many; returns how many were. What can't be retried
    stays. At most `visits` of each list are examined.
    """
    speed = pace or Pace(None)

    async def act(name: str, chosen: Chosen) -> set[int]:
        gone: set[int] = set()
        for part in speed.parts(chosen):
            words = await retrying.all(name, part, to_queue)
            gone |= _settled(part, words)
            await speed.rest(words.count("retried"))
        return gone

    return await _sweep(jobs, wanted, act, visits=visits, most=most)


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
