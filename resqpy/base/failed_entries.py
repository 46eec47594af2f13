"""Entries of the failed list, including jobs that can't be read, with their exact bytes."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from typing import Any

from resqpy.base.codec import (
    clean,
    decode_lenient,
    encode_text,
    exact_text,
    job_text,
    json_text,
)
from resqpy.base.keys import FAILED
from resqpy.base.members import member_text
from resqpy.base.model import FailedJob

# The class of an entry whose job could not be read: its argument holds the bytes in base64.
UNREADABLE = "resqpy.unreadable"
INLINE_UNREADABLE = 65_536  # bytes; larger ones are kept in a key of their own


def encode(
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
    head = json_text({"worker": clean(worker), "queue": clean(queue)})[:-1]
    tail = {
        "exception": clean(exception),
        "error": clean(error),
        "backtrace": [clean(line) for line in backtrace],
        "failed_at": failed_at,
    }
    return f'{head},"payload":'.encode() + job_json + b"," + json_text(tail)[1:].encode()


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


def decode(raw: bytes, source: str = FAILED, *, with_job: bool = True) -> FailedJob:
    """Read a failed entry of any dialect, however malformed: unreadable fields are None, the bytes are
    kept.

    Args:
        with_job: False skips the job's exact bytes, which cost most.
    """
    return made_of(decode_lenient(raw), raw, source, with_job=with_job)


def class_in(data: Any) -> str | None:
    """The class named in an entry's payload, which is enough for most uses."""
    payload = data.get("payload") if isinstance(data, dict) else None
    name = payload.get("class") if isinstance(payload, dict) else None
    return name if isinstance(name, str) else None


def made_of(data: Any, raw: bytes, source: str, *, with_job: bool) -> FailedJob:
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
