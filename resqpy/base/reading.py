"""Display of foreign data in Redis: whatever it is, nothing here raises."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from resqpy.base import codec, job_records
from resqpy.base.errors import PayloadError
from resqpy.base.foreign_time import moment_of
from resqpy.base.json_rules import member_text
from resqpy.base.model import Job, UnreadableJob, WorkingOn


def show_job(raw: bytes, queue: str) -> Job:
    """Read a job as far as possible: an invalid one becomes an `UnreadableJob` that says why."""
    try:
        return codec.decode_job(raw, queue)
    except PayloadError as error:
        return UnreadableJob("", [], queue, raw, problem=str(error))


def is_readable(raw: bytes) -> bool:
    """Whether Ruby, Node and resqpy can all read a job."""
    try:
        codec.decode_job(raw, "")
    except PayloadError:
        return False
    return True


def for_failed(raw: bytes, queue: str, *, can_keep: bool = True) -> tuple[bytes, str | None]:
    """A job in a form that a failed entry can hold.

    Args:
        can_keep: whether large payloads can be kept beside the entry.

    Returns:
        Its text, or that of a job which contains or references its bytes; and the name under which they
            must be kept (`Keys.unreadable`), if so.
    """
    if is_readable(raw):
        return raw, None
    if len(raw) <= job_records.INLINE_UNREADABLE or not can_keep:
        return job_records.unreadable_job(raw, queue), None
    digest = codec.digest(raw)
    kept = job_records.kept_name(digest)
    return job_records.unreadable_reference(digest, len(raw), queue, kept), kept


def show_delayed(raw: bytes) -> Job:
    """Read a delayed item, whose text names its queue; "" if it does not."""
    return show_job(raw, codec.delayed_queue(raw) or "")


def show_record(worker_id: str, record: bytes | None) -> WorkingOn | None:
    """The job that a worker runs; an unreadable record is shown without its content."""
    if record is None:
        return None
    return job_records.decode_work(worker_id, record) or WorkingOn(
        worker_id, None, None, None, None
    )


def job_in_record(record: bytes) -> bytes:
    """The job in a record: the exact bytes in ours and Ruby's, what Node's script left of them in Node's;
    the whole record if there is none.
    """
    ours = job_records.payload_of_work(record)
    if ours is not None:
        return ours
    job = member_text(record, "payload") or record
    return job if member_text(record, "worker") is None else codec.mend_args(job)


def ping_time_ms(ping: bytes | None) -> int:
    """When a Node worker sent its last heartbeat; 0 if unknown."""
    data = codec.decode_lenient(ping or b"")
    return moment_of(data.get("time") if isinstance(data, dict) else None) or 0


# Job filter: the one comparison of jobs, for everything that finds, counts, moves or removes jobs.
#
# Class, arguments and queue are compared as values, whoever wrote them: the order of keys, the spelling of
# numbers and texts, and additional keys make no difference. What is found is then changed by its exact bytes.

_FEW = 8  # texts, and as many numbers, that are searched for in a job's bytes
# Integers may be spelled with an exponent or as a fraction.
_RESPELLED = re.compile(rb"\d(?:[eE][-+]?\d|\.\d)")


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Selects jobs; None means any.

    Attributes:
        args: all of a job's arguments, as JSON values.
        queue: the queue that a job is in, or waits for.
    """

    class_name: str | None = None
    args: list[Any] | None = None
    queue: str | None = None
    _pieces: tuple[bytes, ...] = field(init=False, repr=False, compare=False)
    _digits: tuple[bytes, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Precompute what the bytes of every matching job contain, unless escaped or spelled differently."""
        values = [self.class_name, *_leaves(self.args)]
        texts = [each for each in values if isinstance(each, str) and "\ufffd" not in each]
        numbers = [str(abs(each)) for each in values if type(each) is int]
        pieces = tuple(each.encode("utf-8", "replace") for each in texts[:_FEW])
        object.__setattr__(self, "_pieces", pieces)
        object.__setattr__(self, "_digits", tuple(each.encode() for each in numbers[:_FEW]))

    @classmethod
    def of(
        cls, class_name: str | None, args: Sequence[Any] | None = None, queue: str | None = None
    ) -> Self:
        """The filter for arguments given by a user.

        Raises:
            InvalidJob: no job can have such arguments.
        """
        values = None if args is None else codec.decode_text(codec.encode_args(args))
        return cls(class_name, values, queue)

    def fits(self, job: Job) -> bool:
        """Whether a job matches; an unreadable one may still name its class."""
        return not self.differences(job)

    def differences(self, job: Job) -> list[str]:
        """In what a job differs from the filter: of "class", "queue", "args"."""
        unreadable = isinstance(job, UnreadableJob)
        name = codec.class_of(job.raw) if unreadable else job.class_name
        same_args = self.args is None or (not unreadable and same(self.args, job.args))
        fitting = {
            "class": self.class_name in {None, name},
            "queue": self.queue in {None, job.queue},
            "args": same_args,
        }
        return [what for what, fits in fitting.items() if not fits]

    def means(self, raw: bytes, queue: str | None = None) -> bool:
        """Whether a job matches, by its bytes, decoding no more than necessary.

        Args:
            queue: the queue it is in; None: it is delayed and names its queue itself.
        """
        if not self.may_fit(raw):
            return False
        if self.args is not None:
            return self.fits(show_delayed(raw) if queue is None else show_job(raw, queue))
        if queue is None and self.queue is not None:
            queue = codec.delayed_queue(raw) or ""
        if self.queue not in {None, queue}:
            return False
        return self.class_name is None or codec.class_of(raw) == self.class_name

    def may_fit(self, raw: bytes) -> bool:
        """A quick check of a job's bytes without decoding: False only if it can't match."""
        for piece in self._pieces:
            if piece not in raw:
                return b"\\" in raw or b"_aj_serialized" in raw
        for digits in self._digits:
            if digits not in raw:
                return (
                    b"\\" in raw or b"_aj_serialized" in raw or _RESPELLED.search(raw) is not None
                )
        return True

    def texts(self) -> list[bytes]:
        """The texts under which Ruby, Node and resqpy write such a job; empty if the filter matches more
        than one job.
        """
        if self.class_name is None or self.args is None or self.queue is None:
            return []
        texts = codec.spellings(self.class_name, self.queue, self.args)
        return [text for text in texts if self._is_meant(text)]

    def _is_meant(self, text: bytes) -> bool:
        """Excluded: what JavaScript makes of an integer that it can't represent."""
        return same(codec.decode_text(text)["args"], self.args)

    def __str__(self) -> str:
        return f" of {self.class_name}" if self.class_name else ""


def _leaves(value: Any) -> Iterator[Any]:
    """All texts and numbers in a JSON value, including member names."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield name
            yield from _leaves(each)
    elif isinstance(value, list):
        for each in value:
            yield from _leaves(each)
    else:
        yield value


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal: 1 and 1.0 are, true and 1 are not."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and one.keys() == other.keys()
            and all(same(value, other[key]) for key, value in one.items())
        )
    if isinstance(one, list):
        return (
            isinstance(other, list)
            and len(one) == len(other)
            and all(same(a, b) for a, b in zip(one, other, strict=True))
        )
    return bool(one == other)
