"""A tracked task's record as the fields of a Redis hash, and back.

What has its usual value has no field: most records stay small enough for Redis' compact encoding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from resqpy.base import codec
from resqpy.base.backoff import Backoff
from resqpy.base.task_ending import error_from_dict, error_to_dict
from resqpy.base.task_record import LOCK_MS, LastRun, Lock, Record, Retries
from resqpy.base.task_status import TaskStatus

Fields = dict[str, str]

_TEXTS = ("payload", "sent", "result", "timezone", "retried_by", "application", "user", "ending")
_NUMBERS = {
    "start": "start_ms",
    "end": "end_ms",
    "next": "next_run_ms",
    "started": "run_start_ms",
    "created": "created_us",
    "updated": "updated_us",
    "completed": "completed_us",
    "cancelled": "cancelled_ms",
    "changed": "changed_ms",
    "retain": "retain_ms",
    "until": "retain_until_ms",
    "longest": "longest_ms",
}  # field -> attribute; None: no field
_COUNTS = ("priority", "runs", "attempts", "deliveries")  # 0: no field
_LISTS = ("tags", "retry_for")  # (): no field


def to_fields(record: Record) -> Fields:
    """All fields that a record has."""
    fields: Fields = {
        "v": str(record.version),
        "status": record.status.value,
        "type": record.type,
        "queue": record.queue,
    }
    for name in _TEXTS:
        if (text := getattr(record, name)) is not None:
            fields[name] = text
    for name, attribute in _NUMBERS.items():
        if (number := getattr(record, attribute)) is not None:
            fields[name] = str(number)
    for name in _COUNTS:
        if number := getattr(record, name):
            fields[name] = str(number)
    for name in _LISTS:
        if members := getattr(record, name):
            fields[name] = codec.encode_text(list(members)).decode()
    _more_fields(record, fields)
    _policy_fields(record, fields)
    return fields


def _more_fields(record: Record, fields: Fields) -> None:
    if not record.enabled:
        fields["enabled"] = "0"
    if record.entry:
        fields["entry"] = "1"
    if record.interval is not None:
        fields["interval" if isinstance(record.interval, int) else "cron"] = str(record.interval)
    if (run := record.last_run) is not None:
        fields["last"] = f"{run.start_ms}:{run.finish_ms}:{int(run.succeeded)}"
    if (lock := record.lock) is not None:
        fields |= {
            "lock": lock.token,
            "locked": str(lock.until_ms),
            "delivered": str(lock.since_ms),
        }
    if record.error is not None:
        fields["error"] = codec.encode_text(error_to_dict(record.error)).decode()


def _policy_fields(record: Record, fields: Fields) -> None:
    retries = record.retries
    if retries.most is None or retries.most:
        fields["retries"] = "-1" if retries.most is None else str(retries.most)
        fields["backoff"] = retries.backoff.text()
    if retries.linked:
        fields["linked"] = "1"
    if retries.at_most_once:
        fields["once"] = "1"
    if record.lock_ms != LOCK_MS:
        fields["lock_ms"] = str(record.lock_ms)


def from_fields(task_id: str, fields: Mapping[str, str]) -> Record:
    """The record of fields that `to_fields` made."""
    get = fields.get
    values: dict[str, object] = {name: fields[name] for name in _TEXTS if name in fields}
    for name, attribute in _NUMBERS.items():
        if name in fields:
            values[attribute] = int(fields[name])
    for name in _COUNTS:
        if name in fields:
            values[name] = int(fields[name])
    for name in _LISTS:
        if name in fields:
            values[name] = tuple(codec.decode_text(fields[name]))
    interval = get("interval")
    return Record(
        id=task_id,
        type=fields["type"],
        queue=fields["queue"],
        version=int(fields["v"]),
        status=TaskStatus(fields["status"]),
        enabled=get("enabled") != "0",
        entry=get("entry") == "1",
        interval=get("cron") if interval is None else int(interval),
        last_run=_last_run(get("last")),
        lock=_lock(fields),
        error=error_from_dict(codec.decode_text(fields["error"])) if "error" in fields else None,
        retries=_retries(fields),
        lock_ms=int(get("lock_ms") or LOCK_MS),
        **values,  # type: ignore[arg-type]  # the tables above say which is a text and which a number
    )


def _last_run(text: str | None) -> LastRun | None:
    if text is None:
        return None
    start, finish, succeeded = text.split(":")
    return LastRun(int(start), int(finish), succeeded == "1")


def _lock(fields: Mapping[str, str]) -> Lock | None:
    token = fields.get("lock")
    if token is None:
        return None
    return Lock(token, int(fields["locked"]), int(fields["delivered"]))


def _retries(fields: Mapping[str, str]) -> Retries:
    most = int(fields.get("retries", "0"))
    backoff = Backoff.parse(fields["backoff"]) if "backoff" in fields else Backoff()
    linked, once = fields.get("linked") == "1", fields.get("once") == "1"
    return Retries(None if most < 0 else most, backoff, linked, once)


def from_flat(task_id: str, flat: Sequence[bytes]) -> Record:
    """The record of an HGETALL's reply."""
    texts = [word.decode() for word in flat]
    return from_fields(task_id, dict(zip(texts[::2], texts[1::2], strict=True)))
