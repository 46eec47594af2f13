"""The record of a tracked task as fields of a Redis hash, and back.

Fields with their default value are omitted: most records stay small enough for Redis' compact encoding. One
field belongs to the scripts: `guards`, the locks still held by a task that was never claimed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from resqpy.base import codec
from resqpy.base.periodic import to_datetime
from resqpy.base.when import Backoff
from resqpy.tracked.errors import MalformedTask
from resqpy.tracked.record import (
    LOCK_MS,
    LastRun,
    Record,
    Retries,
    TaskError,
    TaskLock,
    TaskStatus,
    error_from_dict,
    error_to_dict,
    made_of,
)

Fields = dict[str, str]
Shown = Iterable[tuple[str, str | None]]  # fields and their texts; None: no such field

# -- values as texts --


def _flag(value: object) -> str:
    return "1" if value else "0"


def _list(members: Sequence[str]) -> str:
    return codec.encode_text(list(members)).decode()


def _last(run: LastRun) -> str:
    return f"{run.start_ms}:{run.finish_ms}:{int(run.succeeded)}"


def _error(error: TaskError) -> str:
    return codec.encode_text(error_to_dict(error)).decode()


def _show_lock(lock: TaskLock | None) -> Shown:
    if lock is None:
        return (("lock", None), ("locked", None), ("delivered", None))
    return (
        ("lock", lock.token),
        ("locked", str(lock.until_ms)),
        ("delivered", str(lock.since_ms)),
    )


def _show_interval(interval: int | str | None) -> Shown:
    if isinstance(interval, str):
        return (("interval", None), ("cron", interval))
    return (("interval", None if interval is None else str(interval)), ("cron", None))


_USUAL_WAIT = Backoff()  # the default is not written


def _show_retries(retries: Retries) -> Shown:
    forever, tries = retries.most is None, retries.most != 0
    yield "retries", ("-1" if forever else str(retries.most)) if tries else None
    yield "backoff", None if retries.backoff == _USUAL_WAIT else retries.backoff.text()
    yield "linked", "1" if retries.linked else None
    yield "once", "1" if retries.at_most_once else None
    yield "said", " ".join(retries.said) or None


# attribute -> field, text of its value, and the value that is omitted
_ONE: dict[str, tuple[str, Callable[[Any], str], object]] = {
    "version": ("v", str, None),
    "status": ("status", str, None),
    "type": ("type", str, None),
    "queue": ("queue", str, None),
    "payload": ("payload", str, None),
    "sent": ("sent", str, None),
    "result": ("result", str, None),
    "timezone": ("timezone", str, None),
    "retried_by": ("retried_by", str, None),
    "application": ("application", str, None),
    "user": ("user", str, None),
    "ending": ("ending", str, None),
    "start_ms": ("start", str, None),
    "end_ms": ("end", str, None),
    "next_run_ms": ("next", str, None),
    "run_start_ms": ("started", str, None),
    "created_us": ("created", str, None),
    "updated_us": ("updated", str, None),
    "completed_us": ("completed", str, None),
    "cancelled_ms": ("cancelled", str, None),
    "changed_ms": ("changed", str, None),
    "retain_ms": ("retain", str, None),
    "retain_until_ms": ("until", str, None),
    "longest_ms": ("longest", str, None),
    "lock_ms": ("lock_ms", str, LOCK_MS),
    "priority": ("priority", str, 0),
    "runs": ("runs", str, 0),
    "attempts": ("attempts", str, 0),
    "deliveries": ("deliveries", str, 0),
    "snoozed": ("snoozed", str, 0),
    "tags": ("tags", _list, ()),
    "retry_for": ("retry_for", _list, ()),
    "enabled": ("enabled", _flag, True),
    "entry": ("entry", _flag, False),
    "last_run": ("last", _last, None),
    "error": ("error", _error, None),
}
_MANY: dict[str, Callable[[Any], Shown]] = {
    "lock": _show_lock,
    "interval": _show_interval,
    "retries": _show_retries,
}


def _shown(attribute: str, value: object) -> Shown:
    one = _ONE.get(attribute)
    if one is None:
        return _MANY[attribute](value)
    field, text, usual = one
    return ((field, None if value == usual else text(value)),)


def to_fields(record: Record) -> Fields:
    """All fields of a record."""
    values = record.__dict__
    return {
        field: text
        for attribute in (*_ONE, *_MANY)
        for field, text in _shown(attribute, values[attribute])
        if text is not None
    }


def changed(before: Record, after: Record) -> tuple[Fields, list[str]]:
    """The fields in which another state of a record differs, and those it no longer has."""
    old = before.__dict__
    fields: Fields = {}
    gone: list[str] = []
    values = after.__dict__
    for attribute in [name for name, value in values.items() if old[name] is not value]:
        value = values[attribute]
        if old[attribute] == value:
            continue
        for field, text in _shown(attribute, value):
            if text is not None:
                fields[field] = text
            else:
                gone.append(field)
    return fields, gone


# -- texts as values --


def _strings(text: str) -> tuple[str, ...]:
    return tuple(codec.decode_text(text))


def _last_run(text: str) -> LastRun:
    start, finish, succeeded = text.split(":")
    return LastRun(int(start), int(finish), succeeded == "1")


def _task_error(text: str) -> TaskError:
    return error_from_dict(codec.decode_text(text))


def _is_set(text: str) -> bool:
    return text == "1"


_VALUES: dict[Callable[[Any], str], Callable[[str], Any]] = {
    str: int, _flag: _is_set, _list: _strings, _last: _last_run, _error: _task_error,
}  # fmt: skip
_TEXTS = (
    "type", "queue", "payload", "sent", "result", "timezone", "retried_by", "application", "user",
    "ending",
)  # fmt: skip
_STATUS = {status.encode(): status for status in TaskStatus}


def _status(raw: bytes) -> TaskStatus:
    return _STATUS.get(raw) or TaskStatus(raw.decode())


def _of_text(value: Callable[[str], Any]) -> Callable[[bytes], Any]:
    return lambda raw: value(raw.decode())


_READ: dict[bytes, tuple[str, Callable[[bytes], Any]]] = {
    field.encode(): (
        attribute,
        bytes.decode if attribute in _TEXTS else int if text is str else _of_text(_VALUES[text]),
    )
    for attribute, (field, text, _) in _ONE.items()
} | {
    b"status": ("status", _status),
    b"interval": ("interval", int),
    b"cron": ("interval", bytes.decode),
}
_POLICY = (b"retries", b"backoff", b"linked", b"once", b"said")


def _from_fields(task_id: str, fields: Mapping[bytes, bytes]) -> Record:
    values: dict[str, Any] = {"id": task_id}
    field = b""
    try:
        for field, raw in fields.items():
            known = _READ.get(field)
            if known is not None:
                values[known[0]] = known[1](raw)
    except Exception as error:
        raise ValueError(f"its field {field.decode()!r}: {error}") from error
    values["retries"] = _retries(*map(fields.get, _POLICY))
    token = fields.get(b"lock")
    if token is not None:
        values["lock"] = TaskLock(token.decode(), int(fields[b"locked"]), int(fields[b"delivered"]))
    return made_of(values)


@lru_cache(maxsize=256)
def _retries(*raw: bytes | None) -> Retries:
    """They are the same for many tasks, and parsing them costs more than a run should."""
    most, backoff, linked, once, said = (None if each is None else each.decode() for each in raw)
    wait = _USUAL_WAIT if backoff is None else Backoff.parse(backoff)
    tries = int(most or "0")
    most_often = None if tries < 0 else tries
    return Retries(most_often, wait, linked == "1", once == "1", tuple((said or "").split()))


# What only readers look at: a text that is no JSON object, a time beyond the calendar.
_MOMENTS = (
    "start_ms", "end_ms", "next_run_ms", "run_start_ms", "cancelled_ms", "changed_ms", "retain_until_ms",
)  # fmt: skip
_MOMENTS_US = ("created_us", "updated_us", "completed_us")


def _refuse_unshowable(record: Record) -> None:
    if not isinstance(codec.decode_text(record.payload), dict):
        raise TypeError("its payload is no object")
    if record.result is not None:
        codec.decode_text(record.result)
    values = record.__dict__
    times_ms = [values[each] for each in _MOMENTS]
    times_ms += [(values[each] or 0) // 1000 for each in _MOMENTS_US]
    if record.last_run is not None:
        times_ms += [record.last_run.start_ms, record.last_run.finish_ms]
    for at_ms in times_ms:
        if at_ms is not None:
            to_datetime(at_ms)


def refuse_unshowable(record: Record) -> None:
    """For who shows a record: all of it can be read.

    Raises:
        MalformedTask: somebody has changed it.
    """
    try:
        _refuse_unshowable(record)
    except Exception as error:
        raise _malformed(record.id, error) from error


def _malformed(task_id: str, error: Exception) -> MalformedTask:
    return MalformedTask(
        f"the record of the tracked task {task_id} can't be read ({error}): it is left alone; find out who wrote "
        "to its key"
    )


def from_flat(task_id: str, flat: Sequence[bytes]) -> Record:
    """The record from an HGETALL reply.

    Raises:
        MalformedTask: somebody has changed it.
    """
    try:
        return _from_fields(task_id, dict(zip(flat[::2], flat[1::2], strict=True)))
    except Exception as error:  # a foreign value may let anything raise
        raise _malformed(task_id, error) from error
