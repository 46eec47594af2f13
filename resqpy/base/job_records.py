"""Entries of the failed list, including jobs that can't be read, with their exact bytes."""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from resqpy.base import activejob
from resqpy.base.codec import (
    clean,
    decode_lenient,
    encode_clean,
    encode_text,
    exact_text,
    job_text,
    json_text,
    quoted,
)
from resqpy.base.json_rules import member_text
from resqpy.base.keys import FAILED
from resqpy.base.model import FailedJob, WorkerId, WorkingOn

# The class of an entry whose job could not be read: its argument holds the bytes in base64.
UNREADABLE = "resqpy.unreadable"
INLINE_UNREADABLE = 65_536  # bytes; larger ones are kept in a key of their own


def encode_failed(
    *,
    job_json: bytes,
    queue: str,
    worker: str,
    exception: str,
    error: str,
    backtrace: Sequence[str],
    failed_at: str,
) -> bytes:
    """A failed entry with all seven keys that resque-web and node-resque show (wire document, 5.9).

    `job_json` is inserted unchanged: it must have passed `read_strict`.
    """
    what = f'"exception":{quoted(exception)},"error":{quoted(error)},"backtrace":['
    end = f'{quoted(backtrace[-1]) if backtrace else ""}],"failed_at":"{failed_at}"}}'
    head, lines = _origin_json(worker, queue), _stack_json(tuple(backtrace[:-1]))
    try:
        return b"".join((head, job_json, b",", what.encode(), lines, end.encode()))
    except UnicodeEncodeError:  # a lone surrogate
        return encode_failed(
            job_json=job_json, queue=queue, worker=worker, exception=clean(exception), error=clean(error),
            backtrace=[*map(clean, backtrace)], failed_at=failed_at,
        )  # fmt: skip


@lru_cache(1024)
def _origin_json(worker: str, queue: str) -> bytes:
    """The beginning of an entry."""
    return encode_clean({"worker": worker, "queue": queue})[:-1] + b',"payload":'


@lru_cache(256)
def _stack_json(lines: tuple[str, ...]) -> bytes:
    """Of a backtrace without its last line: in an incident many have the same."""
    return encode_clean({"": lines})[5:-2] + b"," if lines else b""


def encode_retry_failure(
    *, args: Sequence[Any], class_name: str, queue: str, error: str, backtrace: Sequence[str],
    failed_at: str,
) -> bytes:  # fmt: skip
    """The last error of a job that will be retried, under `Keys.retry_failure` (node-resque's Retry)."""
    data = {"failed_at": failed_at, "payload": list(args), "exception": clean(error)}
    data |= {"error": clean(error), "backtrace": [clean(line) for line in backtrace]}
    return encode_text(data | {"worker": class_name, "queue": clean(queue)})


def unreadable_job(raw: bytes, queue: str) -> bytes:
    """A job that every client can read and that contains the bytes of an unreadable one."""
    return job_text(UNREADABLE, clean(queue), json_text([base64.b64encode(raw).decode()]))


def unreadable_reference(digest: str, size: int, queue: str, kept: str | None = None) -> bytes:
    """The same for a large one, whose bytes are in `Keys.unreadable(kept or digest)`."""
    reference = {"sha1": digest, "bytes": size, "kept": kept or digest}
    return job_text(UNREADABLE, clean(queue), json_text([reference]))


def kept_name(digest: str) -> str:
    """A name for kept bytes, different for each failure, because entries are removed independently."""
    return f"{digest}-{secrets.token_hex(4)}"


def decode_failed(raw: bytes, source: str = FAILED, *, with_job: bool = True) -> FailedJob:
    """Read a failed entry of any dialect, however malformed: unreadable fields are None, the bytes are
    kept.

    Args:
        with_job: False skips the job's exact bytes, which cost most.
    """
    return failed_of(decode_lenient(raw), raw, source, with_job=with_job)


def class_in(data: Any) -> str | None:
    """The class named in an entry's payload, which is enough for most uses."""
    payload = data.get("payload") if isinstance(data, dict) else None
    name = activejob.class_in(payload) if isinstance(payload, dict) else None
    return name if isinstance(name, str) else None


def failed_of(data: Any, raw: bytes, source: str, *, with_job: bool) -> FailedJob:
    """Like `decode`, from the value that `decode_lenient` returned."""
    if not isinstance(data, dict):
        return FailedJob(raw, None, None, None, None, [], None, None, source=source)
    payload, backtrace = data.get("payload"), data.get("backtrace")
    job_raw, large = _job_in_failed(raw, payload) if with_job else (None, None)
    queue = _text_or_none(data.get("queue"))
    return FailedJob(
        raw=raw,
        failed_at=data.get("failed_at"),
        payload=payload,
        exception=_text_or_none(data.get("exception")),
        error=_text_or_none(data.get("error")),
        backtrace=_lines(backtrace),
        worker=_text_or_none(data.get("worker")),
        queue=exact_text(raw, "queue") if queue is not None and "\ufffd" in queue else queue,
        job_raw=job_raw,
        unreadable=large,
        source=source,
        retried_at=data.get("retried_at"),
    )


def _lines(backtrace: Any) -> list[str]:
    """A backtrace: a list from Ruby and Node, a multi-line text from others, or missing."""
    if isinstance(backtrace, list):
        return [str(line) for line in backtrace]
    return [] if backtrace is None else str(backtrace).splitlines()


def _text_or_none(value: Any) -> str | None:
    return None if value is None else str(value)


def _job_in_failed(raw: bytes, payload: Any) -> tuple[bytes | None, str | None]:
    """The exact bytes of the job in an entry, or the digest under which they are kept."""
    if not isinstance(payload, dict):
        return None, None
    if payload.get("class") == UNREADABLE and isinstance(payload.get("args"), list):
        return _unpack_unreadable(payload["args"])
    return member_text(raw, "payload"), None


def _unpack_unreadable(args: list[Any]) -> tuple[bytes | None, str | None]:
    first = args[0] if args else None
    if isinstance(first, str):
        try:
            return _unwrap(base64.b64decode(first, validate=True))
        except ValueError:
            return None, None
    kept = first.get("kept", first.get("sha1")) if isinstance(first, dict) else None
    return None, kept if isinstance(kept, str) else None


def _unwrap(raw: bytes) -> tuple[bytes | None, str | None]:
    """A foreign client may have retried the wrapper itself, which was then wrapped again."""
    if raw.startswith(b'{"class":"resqpy.unreadable"'):
        return _job_in_failed(b"", decode_lenient(raw))
    return raw, None


# The record of the job that a worker runs: its beginning, its end and what is between them.


def work_prefix(queue: str, run_at: str) -> bytes:
    """The beginning of a worker's record; `run_at` makes it unique for that worker."""
    return f'{{"queue":{json_text(queue)},"run_at":"{run_at}","payload":'.encode()


def work_suffix(name: str) -> bytes:
    """The end of a worker's record; `worker` is the name Node gives it (trap 20)."""
    return f',"worker":{json_text(name)}}}'.encode()


# Placeholder for a job whose text would break a foreign reader.
HELD_PAYLOAD = json_text({"class": UNREADABLE, "args": []}).encode()

_PAYLOAD_MARK = b'","payload":'
_RECORD_END = re.compile(rb',"worker":"(?:[^"\\]|\\.)*"\}\Z')


def payload_of_work(record: bytes) -> bytes | None:
    """The exact bytes of the job in one of our own records; None for a foreign one.

    Safe because a quotation mark inside a JSON text is always escaped, so the marker can't occur in a
    queue's name, and because Ruby's records end with the payload.
    """
    start, end = record.find(_PAYLOAD_MARK), _RECORD_END.search(record)
    if not record.startswith(b'{"queue":"') or start < 0 or end is None:
        return None
    return record[start + len(_PAYLOAD_MARK) : end.start()]


def decode_work(worker_id: str, record: bytes) -> WorkingOn | None:
    """Read a worker's record of any dialect; None if it can't be read."""
    data = decode_lenient(record)
    if not isinstance(data, dict):
        return None
    ours, queue = payload_of_work(record), data.get("queue")
    return WorkingOn(
        worker_id=worker_id,
        queue=queue if isinstance(queue, str) else None,
        run_at=data.get("run_at"),
        payload=data.get("payload"),
        worker=data.get("worker"),
        job_raw=ours,
    )


def decode_own_work(worker_id: str, record: bytes) -> WorkingOn | None:
    """Read a record that this worker of ours wrote; None for any other, including another worker's."""
    if not record.endswith((work_suffix(WorkerId.parse(worker_id).name), work_suffix(worker_id))):
        return None
    work = decode_work(worker_id, record)
    if work is None or work.job_raw is None or work.queue is None:
        return None
    return work if isinstance(work.run_at, str) else None
