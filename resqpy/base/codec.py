"""Writes every job that Ruby and Node see, and reads theirs (wire document, sections 2 and 5).

`worker_records` and `failed_entries` build on it. Items keep their exact text: `decode_job` returns it with
the job, and whatever moves a job moves those bytes. Only lock keys format numbers as JavaScript does.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from resqpy.base import activejob, json_rules
from resqpy.base.errors import InvalidJob, PayloadError
from resqpy.base.json_rules import (
    LENIENT,
    MAX_NESTING,
    QUICK,
    explain,
    member_text,
    plain,
    read_strict,
    replace_member,
    respell,
    why_unreadable,
)
from resqpy.base.model import Job
from resqpy.base.ruby_text import ruby4, ruby5

# -- the id of the record beside a job --

# In the first argument, under a reserved name: Ruby's and Node's schedulers and retry buttons rebuild a job
# from class, queue and args alone. It is stripped before lock keys, matching and validation. The record
# decides where such a job waits, when it runs and how often, so moving, promoting, retrying and rescuing
# leave it to the record.
TASK_ID = "_task_id"


def task_id_of(args: Sequence[Any]) -> str | None:
    """The record id in a job's arguments; None: the job has no record."""
    if not args or type(args[0]) is not dict:
        return None
    value = args[0].get(TASK_ID)
    return value if isinstance(value, str) and value else None


def has_record(args: Sequence[Any]) -> bool:
    """Whether a job with these arguments has a record."""
    return task_id_of(args) is not None


def without_task_id(args: Sequence[Any]) -> list[Any]:
    """The arguments without the record id, as the task sees them."""
    if not args or type(args[0]) is not dict or TASK_ID not in args[0]:
        return list(args)
    first = {name: value for name, value in args[0].items() if name != TASK_ID}
    return [first, *args[1:]]


# -- floats as Ruby writes them --

# Jobs are found by their text, and there are two spellings: `ruby4` is `Float#to_s`, used by the json gem up
# to 2.9; `ruby5` is the gem's own writer since 2.10 (named as in the wire document, after the recorded client
# stacks).


def float_spellings(text: str) -> tuple[str, ...]:
    """A JSON text of ours with its floats in both Ruby spellings."""
    if "." not in text and "e" not in text:
        return ()
    return (respell(text, ruby4), respell(text, ruby5))


_compact = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
json_text = _compact.encode


def _made_once(encoder: json.JSONEncoder) -> Callable[[Any], str]:
    """Its `encode`, for what is not circular. What that makes for each text is made once: it is three quarters of
    the time of a small one.
    """
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return encoder.encode
    pieces = make(
        None, encoder.default, json.encoder.encode_basestring, None, encoder.key_separator,
        encoder.item_separator, encoder.sort_keys, encoder.skipkeys, encoder.allow_nan,
    )  # fmt: skip
    return lambda value: "".join(pieces(value, 0))


_plain_text = _made_once(_compact)
quoted: Callable[[str], str] = json.encoder.encode_basestring  # a text as JSON


def json_for_people(default: Callable[[Any], Any]) -> Callable[[Any], str]:
    """An encoder of JSON for people, such as that of a log; not for queues.

    Args:
        default: converts values that JSON lacks.
    """
    careful = json.JSONEncoder(default=default, ensure_ascii=False)
    quick = _made_once(careful)

    def encode(value: Any) -> str:
        try:
            return quick(value)
        except RecursionError:  # the other one says so if it is circular
            return careful.encode(value)

    return encode


MAX_PAYLOAD = 16 * 1024 * 1024  # bytes of one job


def encode_text(value: Any) -> bytes:
    """Compact JSON of a value that is known to be encodable."""
    return json_text(value).encode()


def encode_args(args: Sequence[Any]) -> str:
    """The JSON of a job's arguments.

    Raises:
        InvalidJob: an argument can't be read by every Resque worker; the message gives its path.
    """
    if not isinstance(args, (list, tuple)):
        raise InvalidJob(f"args: expected a list of arguments, got {type(args).__name__}")
    if plain(args):
        text = _plain_text(args)
        if text.isascii() or is_utf8(text):
            return json_rules.small_floats(text)
    problem = explain(args)
    if problem is None:  # subclasses of the plain types: check what JSON makes of them
        return encode_args(json.loads(json_text(args)))
    raise InvalidJob(problem)


def is_utf8(text: str) -> bool:
    """Whether a text can be encoded: it has no lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def encode_job(
    class_name: str,
    queue: str,
    args: Sequence[Any],
    ruby: Sequence[str] = (),
    *,
    delayed: bool = False,
) -> bytes:
    """A job as node-resque writes it: `{"class":…,"queue":…,"args":[…]}`.

    Args:
        ruby: queues (names or globs) whose jobs are written as Ruby's `Resque.enqueue` and, if they are delayed,
            `enqueue_at` do, so that its `dequeue` and `remove_delayed`, which go by bytes, find them.

    Raises:
        InvalidJob: a name or an argument can't be encoded, or the job is too large.
    """
    raw = job_text(class_name, queue, encode_args(args))
    if len(raw) > MAX_PAYLOAD:
        raise InvalidJob(
            f"the job {class_name!r} has {len(raw)} bytes, the limit is {MAX_PAYLOAD}; "
            "store the data elsewhere and enqueue a reference to it"
        )
    if _for_ruby(queue, ruby):
        return _as_ruby(raw, class_name, queue, delayed=delayed)
    return raw


def _for_ruby(queue: str, ruby: Sequence[str]) -> bool:
    return bool(ruby) and any(fnmatchcase(queue, each) for each in ruby)


def when_due(item: bytes, queue: str, ruby: Sequence[str]) -> bytes:
    """The text of a delayed job in its queue: the same; in a queue of Ruby's bytes, one in Ruby's order loses
    the name of the queue at its end, as where Ruby's scheduler enqueues it. `promote.lua` does it as well.
    """
    last = f',"queue":"{queue}"}}'.encode()
    if _for_ruby(queue, ruby) and item.startswith(b'{"class":"') and item.endswith(last):
        return item[: -len(last)] + b"}"
    return item


def _as_ruby(raw: bytes, class_name: str, queue: str, *, delayed: bool) -> bytes:
    """The text of a job of ours in Ruby's order, with its spelling of floats."""
    args = raw[len(_head(class_name, queue)) : -1].decode()
    if "." in args or "e" in args:
        args = respell(args, ruby4)
    last = f',"queue":{json_text(queue)}' if delayed else ""
    return f'{{"class":{json_text(class_name)},"args":{args}{last}}}'.encode()


def job_text(class_name: str, queue: str, args_json: str) -> bytes:
    """A job whose arguments are already JSON."""
    if not class_name or not isinstance(class_name, str):
        raise InvalidJob(f"the task name must be a non-empty string, got {class_name!r}")
    return b"%b%b}" % (_head(class_name, queue), args_json.encode())


@lru_cache(1024)  # a program has few tasks and queues, and each job begins with them
def _head(class_name: str, queue: str) -> bytes:
    try:
        return f'{{"class":{json_text(class_name)},"queue":{json_text(queue)},"args":'.encode()
    except UnicodeEncodeError as error:
        raise InvalidJob(f"the task name {class_name!r} has a lone surrogate") from error


# -- when a job is too old --

# Beside the arguments, as milliseconds since the epoch by Redis' clock: it is not begun after the one, and cut
# off at the other. Only the bytes of a job that waits have them: a Ruby or Node scheduler that rebuilds a job
# drops them. Written by the script that pushes the job, over zeros.
EXPIRES, DEADLINE = "resqpy_expires", "resqpy_deadline"
_DIGITS = 13  # until the year 2286
_TOP = ("class", "queue", "args", "id", "prefix", "queue_time")  # the last three are PHP's
_ENDS = re.compile(
    rb'(\{"class":"(?:[^"\\]|\\.)*",(?:"queue":"(?:[^"\\]|\\.)*",)?)((?:"resqpy_(?:expires|deadline)":\d+,)+)'
)
_EXPIRY = re.compile(rb'"resqpy_expires":\d+,')


def with_ends(raw: bytes, ends: Sequence[tuple[str, int]]) -> tuple[bytes, list[int]]:
    """A job of ours with the given numbers by name; and where these stand, for the script that pushes it."""
    at, parts, places = raw.index(b',"args":') + 1, [], []
    for name, ms in ends:
        parts.append(b'"%b":%0*d,' % (name.encode(), _DIGITS, ms))
        places.append(at + sum(map(len, parts)) - _DIGITS - 1)
    return raw[:at] + b"".join(parts) + raw[at:], places


def with_headers(raw: bytes, headers: Mapping[str, str]) -> bytes:
    """A job of ours with more texts at its top, just before its arguments: behind when it ends.

    Raises:
        InvalidJob: one is no text, or has a name that means something in a job.
    """
    for name, each in headers.items():
        given: tuple[object, object] = (name, each)
        if not all(isinstance(text, str) and text for text in given):
            raise InvalidJob(
                f"headers: {name!r} is {each!r}; both must be texts that are not empty"
            )
        if name in _TOP or name.startswith("resqpy_"):
            raise InvalidJob(
                f"headers: {name!r} has a meaning of its own in a job; use another name"
            )
    at = raw.index(b',"args":') + 1
    texts = {clean(name): clean(each) for name, each in headers.items()}
    return b"%b%b,%b" % (raw[:at], encode_text(texts)[1:-1], raw[at:])


def without_ends(raw: bytes, *, deadline: bool = True) -> bytes:
    """The text of a job that may begin whenever it is taken.

    Args:
        deadline: drop that as well.
    """
    found = _ENDS.match(raw) if b'"resqpy_' in raw else None
    if found is None:
        return raw
    return found[1] + (b"" if deadline else _EXPIRY.sub(b"", found[2])) + raw[found.end() :]


def spellings(class_name: str, queue: str, args: Sequence[Any]) -> list[bytes]:
    """All texts under which Ruby, Node and resqpy may have written one job.

    They differ in the order of the keys, in `queue` (missing in Ruby's queue items) and in how numbers are
    spelled; the first text is ours.
    """
    ours = encode_args(args)
    python = json_rules.respell(ours, repr) if "." in ours or "e" in ours else ours
    texts = dict.fromkeys((ours, json_rules.stringify(list(args)), *float_spellings(ours), python))
    name, q = json_text(class_name), json_text(queue)
    orders = ('{{"class":{0},"queue":{1},"args":{2}}}', '{{"class":{0},"args":{2}}}',
              '{{"class":{0},"args":{2},"queue":{1}}}')  # fmt: skip
    return [order.format(name, q, text).encode() for text in texts for order in orders]


def lock_args(args: Sequence[Any]) -> str:
    """The arguments as they appear in a lock's name: JavaScript's `JSON.stringify`."""
    return json_rules.stringify(without_task_id(args))


def retry_args(args: Sequence[Any]) -> str:
    """The arguments as they appear in the keys of Retry: joined by `-`."""
    return "-".join(map(json_rules.text_of, without_task_id(args)))


def decode_job(raw: bytes, queue: str) -> Job:
    """Read a job of any dialect.

    Missing `args`, null and `{}` (what Node's Lua makes of `[]`) mean no arguments; another object is the
    single argument, as in node-resque. A job of Rails' ActiveJob has the class and the arguments in its wrapper.

    Raises:
        PayloadError: it is malformed; the message says how.
    """
    try:
        data = read_strict(raw)
    except ValueError as error:
        raise PayloadError(f"the job can't be read: {why_unreadable(raw, error)}") from None
    if not isinstance(data, dict):
        raise PayloadError(f"the job is a JSON {_json_type(data)}, not an object")
    class_name = data.pop("class", None)
    if not class_name or not isinstance(class_name, str):
        what = "empty" if class_name == "" else f"a JSON {_json_type(class_name)}"
        raise PayloadError(f"the job's class is {what}, not a name")
    args = data.pop("args", None)
    data.pop("queue", None)
    if not isinstance(args, list):
        args = _lenient_args(args)
    wrapper = None
    if class_name == activejob.WRAPPER and activejob.is_wrapper(class_name, args):
        class_name, args, wrapper = activejob.opened(args)
    return Job(class_name, args, queue, raw, data, wrapper)


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
    """The JSON value of data from a foreign client; None if it is no JSON.

    A byte that is not UTF-8 becomes `\ufffd`; use `exact_text` for names that go into keys.
    """
    text = raw.decode("utf-8", "replace").removeprefix("\ufeff")
    try:
        value, end = QUICK.raw_decode(text)
        return value if end == len(text) else LENIENT.decode(text)
    except (ValueError, RecursionError):
        return _decode_odd(text)


def _decode_odd(text: str) -> Any:
    """The slow path: leading blanks, very long numbers, or no JSON."""
    try:
        return LENIENT.decode(text)
    except (ValueError, RecursionError):
        return None


def exact_text(raw: bytes, name: str) -> str | None:
    """A text member of an object, byte for byte: broken UTF-8 becomes surrogate escapes, as in
    `decode_name`. None if it is not a text.
    """
    text = member_text(raw, name)
    try:
        value = None if text is None else LENIENT.decode(text.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, str) else None


def delayed_queue(raw: bytes) -> str | None:
    """The queue named in a delayed item."""
    data = decode_lenient(raw)
    queue = data.get("queue") if isinstance(data, dict) else None
    if not isinstance(queue, str) or "\ufffd" not in queue:  # fast path for nearly all
        return queue if isinstance(queue, str) and queue else None
    return exact_text(raw, "queue")


def clean(text: str) -> str:
    """A text without lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode()


def encode_clean(texts: Mapping[str, str | Sequence[str]]) -> bytes:
    """Compact JSON of an object of texts and lists of texts, without lone surrogates."""
    try:
        return _plain_text(texts).encode()
    except UnicodeEncodeError:
        cleaned = {
            name: clean(each) if isinstance(each, str) else [*map(clean, each)]
            for name, each in texts.items()
        }
        return encode_text(cleaned)


def digest(raw: bytes) -> str:
    """SHA-1 in hex, as `redis.sha1hex` gives it."""
    return hashlib.sha1(raw, usedforsecurity=False).hexdigest()


def with_queue(job: Job) -> bytes:
    """The text of a job as a delayed item, which must name its queue (trap 24): at its end, where Ruby has it."""
    named = member_text(job.raw, "queue")
    queue = encode_text(job.queue)
    if named == queue:
        return job.raw
    if not job.extra and job.wrapper is None:
        args = member_text(job.raw, "args") if b'"args"' in job.raw else None
        if args is None or not args.startswith(b"["):  # which only some read
            return job_text(job.class_name, job.queue, encode_text(job.args).decode())
    if named is None:
        return b'%b,"queue":%b}' % (job.raw.rstrip(b" \t\r\n")[:-1], queue)
    return for_queue(job.raw, job.queue)


def for_queue(raw: bytes, queue: str) -> bytes:
    """The text of a job for another queue: only its `queue` changes."""
    return replace_member(raw, "queue", encode_text(queue))


def mend_args(raw: bytes) -> bytes:
    """The text of a job taken from Node's worker record, where `[]` became `{}` (trap 14)."""
    if member_text(raw, "args") == b"{}":
        return replace_member(raw, "args", b"[]")
    return raw


def class_of(raw: bytes) -> str | None:
    """The class named in a job of any dialect."""
    data = decode_lenient(raw)
    name = activejob.class_in(data) if isinstance(data, dict) else None
    return name if isinstance(name, str) else None


# -- our own texts --


def decode_text(text: str | bytes) -> Any:
    """The value of a JSON text written by us."""
    if type(text) is str and text.startswith("{"):  # `loads` takes longer than reading a small one
        value, end = _read(text)
        if end == len(text):
            return value
    return json.loads(text)


_read = json.JSONDecoder().raw_decode


def encode_object(value: Any, what: str = "payload") -> str:
    """The JSON text of an object that becomes part of a job.

    Raises:
        InvalidJob: it is not an object, something in it can't be encoded (with its path), or it uses the
            name reserved for the record id.
    """
    if not isinstance(value, dict):
        raise InvalidJob(f"{what}: expected a dict (a JSON object), got {type(value).__name__}")
    if TASK_ID in value:
        raise InvalidJob(f"{what}: {TASK_ID!r} is reserved for the task's id; use another name")
    return encode_value(value, what)


def encode_value(value: Any, what: str) -> str:
    """The JSON text of a value that becomes part of a job; InvalidJob, with the path, if it can't be encoded."""
    if plain([value]):
        text = _plain_text(value)
        if text.isascii() or is_utf8(text):
            return text
    problem = explain(value, what, MAX_NESTING - 1)
    if problem is not None:
        raise InvalidJob(problem)
    return json_text(value)
