"""Display of foreign data in Redis: whatever it is, nothing here raises."""

from __future__ import annotations

from resqpy.base import codec, failed_entries, worker_records
from resqpy.base.errors import PayloadError
from resqpy.base.foreign_time import moment_of
from resqpy.base.members import member_text
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
    if len(raw) <= failed_entries.INLINE_UNREADABLE or not can_keep:
        return failed_entries.unreadable_job(raw, queue), None
    digest = codec.digest(raw)
    kept = failed_entries.kept_name(digest)
    return failed_entries.unreadable_reference(digest, len(raw), queue, kept), kept


def show_delayed(raw: bytes) -> Job:
    """Read a delayed item, whose text names its queue; "" if it does not."""
    return show_job(raw, codec.delayed_queue(raw) or "")


def show_record(worker_id: str, record: bytes | None) -> WorkingOn | None:
    """The job that a worker runs; an unreadable record is shown without its content."""
    if record is None:
        return None
    return worker_records.decode(worker_id, record) or WorkingOn(worker_id, None, None, None, None)


def job_in_record(record: bytes) -> bytes:
    """The job in a record: the exact bytes in ours and Ruby's, what Node's script left of them in Node's;
    the whole record if there is none.
    """
    ours = worker_records.payload(record)
    if ours is not None:
        return ours
    job = member_text(record, "payload") or record
    return job if member_text(record, "worker") is None else codec.mend_args(job)


def ping_time_ms(ping: bytes | None) -> int:
    """When a Node worker sent its last heartbeat; 0 if unknown."""
    data = codec.decode_lenient(ping or b"")
    return moment_of(data.get("time") if isinstance(data, dict) else None) or 0
