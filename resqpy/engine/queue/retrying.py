"""Selects failed jobs and puts them back into their queues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from resqpy.base import codec, failed_entries
from resqpy.base.codec import has_record
from resqpy.base.errors import PayloadError, UsageError
from resqpy.base.model import FailedJob, Job
from resqpy.engine.plugin import Enqueuing
from resqpy.engine.queue.queue import Queue
from resqpy.store import failures
from resqpy.store.failures import EntryAction
from resqpy.store.sweep import Item

Chosen = Sequence[tuple[int, FailedJob]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Filter for failed jobs; None means any.

    Attributes:
        retried: include those that Ruby has retried already and left in the list.
    """

    class_names: frozenset[str] | None = None
    exceptions: frozenset[str] | None = None
    queues: frozenset[str] | None = None
    only_stuck: bool = False
    retried: bool = True

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
        if self.class_names is not None and failed_entries.class_in(data) not in self.class_names:
            return None
        entry = failed_entries.made_of(data, raw, source, with_job=with_job)
        return entry if self._wants(entry) else None

    def names(self, raw: bytes) -> bool:
        """Whether an entry has one of the wanted classes."""
        wanted = self.class_names or ()
        return self._may_want(raw) and failed_entries.class_in(codec.decode_lenient(raw)) in wanted

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
        return failed_entries.decode(raw, source)

    def _wants(self, entry: FailedJob) -> bool:
        return (
            (self.exceptions is None or entry.exception in self.exceptions)
            and (self.queues is None or _named_queue(entry) in self.queues)
            and (not self.only_stuck or entry.was_cleaned_by_force)
            and (self.retried or entry.retried_at is None)
        )


def _names(given: str | Sequence[str] | None) -> frozenset[str] | None:
    if given is None:
        return None
    return frozenset([given] if isinstance(given, str) else given)


class Retrying:
    """Retries entries, applying the enqueue hooks and locks of their tasks."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    async def all(
        self, source: str, chosen: Chosen, to_queue: str | None = None, *, strict: bool = False
    ) -> list[str]:
        """Retry entries of one list in one round trip, in order.

        Args:
            chosen: index (or -1) and entry.
            strict: raise if an entry can't be retried, instead of skipping it.

        Returns:
            For each the result of `failures.settle`, "forbidden" if a hook forbade it, or "impossible" if
                it names no queue or has no job.
        """
        words, settlings, jobs = [""] * len(chosen), [], []
        for place, (index, entry) in enumerate(chosen):
            settling, context, words[place] = await self._prepare(index, entry, to_queue, strict)
            if settling is not None:
                settlings.append(settling)
                jobs.append((place, context))
        replies = await failures.settle(self._queue.store, source, settlings)
        for (place, context), word in zip(jobs, replies, strict=True):
            words[place] = word
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
        if job is None:  # an unreadable job has no task whose plugins could be called
            return EntryAction(entry, index, queue, raw), None, ""
        if has_record(job.args):  # they were called when it was created
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
