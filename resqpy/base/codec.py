"""Every payload that Ruby and Node see, and the reading of theirs (wire document, sections 2 and 5).

Items keep their exact text: `decode_job` returns it with the job, and whatever moves a job moves
those bytes. Only lock keys print numbers as JavaScript does.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Sequence
from typing import Any

from resqpy.base import js, ruby_numbers
from resqpy.base.errors import InvalidJob, PayloadError
from resqpy.base.json_check import MAX_NESTING, explain, plain, read_strict
from resqpy.base.keys import FAILED
from resqpy.base.members import member_text, replace_member
from resqpy.base.model import FailedJob, Job, WorkingOn
from resqpy.base.task_id import TASK_ID, without_task_id

_dumps = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

# The class of an entry whose job could not be read: its bytes stand in base64 as its argument.
UNREADABLE = "resqpy.unreadable"
INLINE_UNREADABLE = 65_536  # bytes; what is larger is kept in a key of its own
MAX_PAYLOAD = 16 * 1024 * 1024  # bytes of one job


def encode_text(value: Any) -> bytes:
    """Compact JSON of a value that is known to be writable."""
    return _dumps(value).encode()


def encode_args(args: Sequence[Any]) -> str:
    """The JSON of a job's arguments.

    Raises:
        InvalidJob: something in it can't be read by every Resque worker, with its path.
    """
    if not isinstance(args, (list, tuple)):
        raise InvalidJob(f"args: {type(args).__name__} given; pass a list of arguments")
    if plain(args):
        text = _dumps(args)
        if text.isascii() or is_utf8(text):
            return js.small_floats(text)
    problem = explain(args)
    if problem is None:  # subclasses of the plain types: what JSON makes of them is what counts
        return encode_args(json.loads(_dumps(args)))
    raise InvalidJob(problem)


def is_utf8(text: str) -> bool:
    """Whether a text has no lone surrogates, so that it can be written."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def encode_job(class_name: str, queue: str, args: Sequence[Any]) -> bytes:
    """A job as node-resque writes it: `{"class":…,"queue":…,"args":[…]}`.

    Raises:
        InvalidJob: a name or an argument can't be written, or the job is too large.
    """
    raw = job_text(class_name, queue, encode_args(args))
    if len(raw) > MAX_PAYLOAD:
        raise InvalidJob(
            f"the job {class_name!r} has {len(raw)} bytes, the most is {MAX_PAYLOAD}; "
            "store the data elsewhere and enqueue where it is"
        )
    return raw


def job_text(class_name: str, queue: str, args_json: str) -> bytes:
    """A job from arguments that are JSON already."""
    if not class_name or not isinstance(class_name, str):
        raise InvalidJob(f"the task name {class_name!r} is not a text with at least one sign")
    try:
        return (
            f'{{"class":{_dumps(class_name)},"queue":{_dumps(queue)},"args":{args_json}}}'.encode()
        )
    except UnicodeEncodeError as error:
        raise InvalidJob(f"the task name {class_name!r} has a lone surrogate") from error


def spellings(class_name: str, queue: str, args: Sequence[Any]) -> list[bytes]:
    """All texts under which Ruby, Node and resqpy may have written one job.

    They differ in the order of the keys, in `queue` (Ruby's queue items have none) and in the text
    of numbers; the first is ours.
    """
    ours = encode_args(args)
    python = js.respell(ours, repr) if "." in ours or "e" in ours else ours
    texts = dict.fromkeys((ours, js.stringify(list(args)), *ruby_numbers.spellings(ours), python))
    name, q = _dumps(class_name), _dumps(queue)
    orders = ('{{"class":{0},"queue":{1},"args":{2}}}', '{{"class":{0},"args":{2}}}',
              '{{"class":{0},"args":{2},"queue":{1}}}')  # fmt: skip
    return [order.format(name, q, text).encode() for text in texts for order in orders]


def lock_args(args: Sequence[Any]) -> str:
    """The arguments as they stand in the name of a lock: JavaScript's `JSON.stringify`."""
    return js.stringify(without_task_id(args))


def retry_args(args: Sequence[Any]) -> str:
    """The arguments as they stand in the keys of Retry: joined by `-`."""
    return "-".join(map(js.text_of, without_task_id(args)))


def decode_job(raw: bytes, queue: str) -> Job:
    """Read a job of any dialect.

    Missing `args`, null and `{}` (what Node's Lua makes of `[]`) are no arguments; another object
    is the single argument, as in node-resque.

    Raises:
        PayloadError: what is wrong with it.
    """
    try:
        data = read_strict(raw)
    except ValueError as error:
        raise PayloadError(f"the job can't be read: {error}") from error
    if not isinstance(data, dict):
        raise PayloadError(f"the job is a JSON {_json_type(data)}, not an object")
    class_name = data.pop("class", None)
    if not class_name or not isinstance(class_name, str):
        raise PayloadError(f"the job's class is {class_name!r}, not a name")
    args = data.pop("args", None)
    data.pop("queue", None)
    if not isinstance(args, list):
        args = _lenient_args(args)
    return Job(class_name, args, queue, raw, data)


def _lenient_args(args: Any) -> list[Any]:
    if args is None or args == {}:
        return []
    if isinstance(args, dict):
        return [args]
    raise PayloadError(f"the job's args are a JSON {_json_type(args)}, not a list")


def _json_type(value: Any) -> str:
    names = {list: "list", str: "text", bool: "boolean", dict: "object", type(None): "null"}
    return names.get(type(value), "number")


def decode_lenient(raw: bytes) -> Any:
    """The JSON value of what a foreign client left, or None where there is none to be had."""
    try:
        return json.loads(raw.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


def delayed_queue(raw: bytes) -> str | None:
    """The queue that a delayed item names."""
    data = decode_lenient(raw)
    queue = data.get("queue") if isinstance(data, dict) else None
    return queue if isinstance(queue, str) and queue else None


# -- what a worker works on --


def record_prefix(queue: str, run_at: str) -> bytes:
    """The beginning of a worker's record; `run_at` makes it unlike any other of that worker."""
    return f'{{"queue":{_dumps(queue)},"run_at":"{run_at}","payload":'.encode()


def record_suffix(name: str) -> bytes:
    """The end of a worker's record; `worker` is Node's name of it (trap 20)."""
    return f',"worker":{_dumps(name)}}}'.encode()


# What stands in a record for a job whose text a foreign reader could not bear.
HELD_PAYLOAD = _dumps({"class": UNREADABLE, "args": []}).encode()

_PAYLOAD_MARK = b'","payload":'
_RECORD_END = re.compile(rb',"worker":"(?:[^"\\]|\\.)*"\}\Z')


def record_payload(record: bytes) -> bytes | None:
    """The exact bytes of the job in one of our own records; None in a foreign one.

    Safe because a quotation mark inside a JSON text is always escaped, so the mark can't be in a
    queue's name, and a record of Ruby's ends with its payload.
    """
    start, end = record.find(_PAYLOAD_MARK), _RECORD_END.search(record)
    if not record.startswith(b'{"queue":"') or start < 0 or end is None:
        return None
    return record[start + len(_PAYLOAD_MARK) : end.start()]


def decode_working_on(worker_id: str, record: bytes) -> WorkingOn | None:
    """Read a worker's record of any dialect; None where it can't be read."""
    data = decode_lenient(record)
    if not isinstance(data, dict):
        return None
    ours = record_payload(record)
    return WorkingOn(
        worker_id=worker_id,
        queue=data.get("queue"),
        run_at=data.get("run_at"),
        payload=data.get("payload"),
        worker=data.get("worker"),
        job_raw=ours,
    )


# -- failed entries --


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

    `job_json` stands in it as it is: it must have passed `read_strict`.
    """
    head = _dumps({"worker": worker, "queue": clean(queue)})[:-1]
    tail = {
        "exception": clean(exception),
        "error": clean(error),
        "backtrace": [clean(line) for line in backtrace],
        "failed_at": failed_at,
    }
    return f'{head},"payload":'.encode() + job_json + b"," + _dumps(tail)[1:].encode()


def encode_retry_failure(
    *, args: Sequence[Any], class_name: str, queue: str, error: str, backtrace: Sequence[str],
    failed_at: str,
) -> bytes:  # fmt: skip
    """The last error of a job that is tried again, under `Keys.retry_failure` (node-resque's Retry)."""
    data = {"failed_at": failed_at, "payload": list(args), "exception": clean(error)}
    data |= {"error": clean(error), "backtrace": [clean(line) for line in backtrace]}
    return encode_text(data | {"worker": class_name, "queue": clean(queue)})


def clean(text: str) -> str:
    """A text without lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode()


def unreadable_job(raw: bytes, queue: str) -> bytes:
    """A job that every client can read, with the bytes of one that they can't inside."""
    return job_text(UNREADABLE, clean(queue), _dumps([base64.b64encode(raw).decode()]))


def unreadable_reference(digest: str, size: int, queue: str, kept: str | None = None) -> bytes:
    """The same for a large one, whose bytes stand in `Keys.unreadable(kept or digest)`."""
    reference = {"sha1": digest, "bytes": size, "kept": kept or digest}
    return job_text(UNREADABLE, clean(queue), _dumps([reference]))


def kept_name(digest: str) -> str:
    """A name for kept bytes: another one at each failure, for each entry goes by itself."""
    return f"{digest}-{secrets.token_hex(4)}"


def digest(raw: bytes) -> str:
    """SHA-1 in hex, as `redis.sha1hex` gives it."""
    return hashlib.sha1(raw, usedforsecurity=False).hexdigest()


def decode_failed(raw: bytes, source: str = FAILED) -> FailedJob:
    """Read a failed entry of any dialect, however odd: what can't be read is None, its bytes kept."""
    data = decode_lenient(raw)
    if not isinstance(data, dict):
        return FailedJob(raw, None, None, None, None, [], None, None, source=source)
    payload, backtrace = data.get("payload"), data.get("backtrace")
    job_raw, large = _job_in_failed(raw, payload)
    return FailedJob(
        raw=raw,
        failed_at=data.get("failed_at"),
        payload=payload,
        exception=_text_or_none(data.get("exception")),
        error=_text_or_none(data.get("error")),
        backtrace=[str(line) for line in backtrace] if isinstance(backtrace, list) else [],
        worker=_text_or_none(data.get("worker")),
        queue=_text_or_none(data.get("queue")),
        job_raw=job_raw,
        unreadable=large,
        source=source,
        retried_at=data.get("retried_at"),
    )


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
    """A foreign client may have retried the wrapper itself, which then was wrapped again."""
    if raw.startswith(b'{"class":"resqpy.unreadable"'):
        return _job_in_failed(b"", decode_lenient(raw))
    return raw, None


def with_queue(job: Job) -> bytes:
    """The text of a job as a delayed item: it must name its queue (trap 24)."""
    named = member_text(job.raw, "queue")
    if named == encode_text(job.queue):
        return job.raw
    args = member_text(job.raw, "args") if b'"args"' in job.raw else None
    if args is None or not args.startswith(b"["):
        args = encode_text(job.args)
    return job_text(job.class_name, job.queue, args.decode())


def for_queue(raw: bytes, queue: str) -> bytes:
    """The text of a job that goes to another queue: only what it says of its queue changes."""
    return replace_member(raw, "queue", encode_text(queue))


def mend_args(raw: bytes) -> bytes:
    """The text of a job that came through Node's worker record, where `[]` became `{}` (trap 14)."""
    if member_text(raw, "args") == b"{}":
        return replace_member(raw, "args", b"[]")
    return raw


def class_of(raw: bytes) -> str | None:
    """The class that a job of any dialect names."""
    data = decode_lenient(raw)
    name = data.get("class") if isinstance(data, dict) else None
    return name if isinstance(name, str) else None


# -- tracked tasks --


def decode_text(text: str | bytes) -> Any:
    """The value of a JSON text that we wrote ourselves."""
    return json.loads(text)


def encode_object(value: Any, what: str = "payload") -> str:
    """The JSON text of an object, which may stand in a job.

    Raises:
        InvalidJob: it is no object, something in it can't be written, with its path, or it has the
            name that is reserved for the id of a tracked task.
    """
    if not isinstance(value, dict):
        raise InvalidJob(f"{what}: {type(value).__name__} given; pass a dict (a JSON object)")
    if TASK_ID in value:
        raise InvalidJob(f"{what}: {TASK_ID!r} is reserved for the task's id; use another name")
    return encode_value(value, what)


def encode_value(value: Any, what: str) -> str:
    """The JSON text of a value, which may stand in a job; InvalidJob, with the path, if it may not."""
    if not (plain([value]) and is_utf8(_dumps(value))):
        problem = explain(value, what, MAX_NESTING - 1)
        if problem is not None:
            raise InvalidJob(problem)
    return _dumps(value)


def tracked_job(class_name: str, queue: str, payload: str, task_id: str) -> bytes:
    """A tracked task's job: its payload, which is a JSON object's text, with the id pasted in."""
    between = "" if payload == "{}" else ","
    return job_text(class_name, queue, f'[{payload[:-1]}{between}"{TASK_ID}":{_dumps(task_id)}}}]')
