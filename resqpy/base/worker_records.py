"""The record of the job that a worker runs: its beginning, its end and what is between them."""

from __future__ import annotations

import re

from resqpy.base.codec import decode_lenient, json_text
from resqpy.base.failed_entries import UNREADABLE
from resqpy.base.model import WorkerId, WorkingOn


def prefix(queue: str, run_at: str) -> bytes:
    """The beginning of a worker's record; `run_at` makes it unique for that worker."""
    return f'{{"queue":{json_text(queue)},"run_at":"{run_at}","payload":'.encode()


def suffix(name: str) -> bytes:
    """The end of a worker's record; `worker` is the name Node gives it (trap 20)."""
    return f',"worker":{json_text(name)}}}'.encode()


# Placeholder for a job whose text would break a foreign reader.
HELD_PAYLOAD = json_text({"class": UNREADABLE, "args": []}).encode()

_PAYLOAD_MARK = b'","payload":'
_RECORD_END = re.compile(rb',"worker":"(?:[^"\\]|\\.)*"\}\Z')


def payload(record: bytes) -> bytes | None:
    """The exact bytes of the job in one of our own records; None for a foreign one.

    Safe because a quotation mark inside a JSON text is always escaped, so the marker can't occur in a
    queue's name, and because Ruby's records end with the payload.
    """
    start, end = record.find(_PAYLOAD_MARK), _RECORD_END.search(record)
    if not record.startswith(b'{"queue":"') or start < 0 or end is None:
        return None
    return record[start + len(_PAYLOAD_MARK) : end.start()]


def decode(worker_id: str, record: bytes) -> WorkingOn | None:
    """Read a worker's record of any dialect; None if it can't be read."""
    data = decode_lenient(record)
    if not isinstance(data, dict):
        return None
    ours, queue = payload(record), data.get("queue")
    return WorkingOn(
        worker_id=worker_id,
        queue=queue if isinstance(queue, str) else None,
        run_at=data.get("run_at"),
        payload=data.get("payload"),
        worker=data.get("worker"),
        job_raw=ours,
    )


def decode_own(worker_id: str, record: bytes) -> WorkingOn | None:
    """Read a record that this worker of ours wrote; None for any other, including another worker's."""
    if not record.endswith((suffix(WorkerId.parse(worker_id).name), suffix(worker_id))):
        return None
    work = decode(worker_id, record)
    if work is None or work.job_raw is None or work.queue is None:
        return None
    return work if isinstance(work.run_at, str) else None
