"""Jobs, failed jobs and the like as JSON and as cells of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from resqpy.base import codec
from resqpy.base.foreign_time import moment_of
from resqpy.base.model import FailedJob, Job, NoList, UnreadableJob
from resqpy.cli import output, times

if TYPE_CHECKING:
    from resqpy.engine.failed_groups import FailedGroup
    from resqpy.tracked.handle import TrackedTask

ID_LENGTH = 10  # hex digits of a failed entry's digest that are shown


def job_json(job: Job) -> dict[str, Any]:
    """A job."""
    shown = {"class": job.class_name, "queue": job.queue, "args": job.args, **job.extra}
    if isinstance(job, UnreadableJob):
        return {"queue": job.queue, "problem": job.problem, "bytes": len(job.raw)}
    redacted: dict[str, Any] = output.redaction().shown(shown)
    return redacted


def length(number: int) -> str:
    """How many jobs wait in a queue, or why nobody can tell."""
    return number.words if isinstance(number, NoList) else str(number)


def job_name(job: Job) -> str:
    """Its class, or that it is none."""
    return "(unreadable)" if isinstance(job, UnreadableJob) else job.class_name


def job_args(job: Job) -> str:
    """Its arguments, or why it is none."""
    if isinstance(job, UnreadableJob):
        return f"{len(job.raw)} bytes: {job.problem}"
    return args(job.args)


def args(values: Sequence[Any]) -> str:
    """Arguments as one line; ActionHero's one object without the list around it."""
    only = values[0] if len(values) == 1 and isinstance(values[0], dict) else list(values)
    return output.compact(output.redaction().shown(only))


def failed_id(entry: FailedJob) -> str:
    """The id by which commands name an entry: the digest of its bytes."""
    return codec.digest(entry.raw)


def failed_json(entry: FailedJob, *, backtrace: bool) -> dict[str, Any]:
    """A failed entry."""
    failed_ms = moment_of(entry.failed_at)
    shown = {
        "id": failed_id(entry),
        "class": entry.class_name,
        "queue": entry.queue,
        "args": output.redaction().shown(entry.args),
        "exception": entry.exception,
        "error": entry.error,
        "worker": entry.worker,
        "failed_at": times.iso(failed_ms),
        "failed_at_ms": failed_ms,
        "retried_at": times.iso(moment_of(entry.retried_at)),
        "list": entry.source,
    }
    return {**shown, "backtrace": entry.backtrace} if backtrace else shown


def failed_cells(entry: FailedJob) -> tuple[str | None, ...]:
    """A failed entry as a row."""
    failed_ms = moment_of(entry.failed_at)
    when = times.distance(failed_ms) if failed_ms else entry.failed_at
    return (
        failed_id(entry)[:ID_LENGTH],
        when if entry.retried_at is None else f"{when} (retried)",  # Ruby leaves what it retried
        entry.class_name or "(unreadable)",
        entry.queue,
        _first_line(": ".join(filter(None, (entry.exception, entry.error)))) or None,
    )


def _first_line(words: str) -> str:
    """An error in a table: Ruby's come with the lines of source around them."""
    first, _, more = words.partition("\n")
    return f"{first} …" if more.strip() else first


FAILED_HEADS = ("id", "failed", "class", "queue", "error")
GROUP_HEADS = ("jobs", "class", "exception", "first", "last", "example")


def group_json(group: FailedGroup) -> dict[str, Any]:
    """A group of failed jobs."""
    return {
        "class": group.class_name,
        "exception": group.exception,
        "count": group.count,
        "others": group.others,
        "first_at": times.iso(group.first_ms),
        "first_at_ms": group.first_ms,
        "last_at": times.iso(group.last_ms),
        "last_at_ms": group.last_ms,
        "example": failed_id(group.example),
        "example_error": group.example.error,
    }


def group_cells(group: FailedGroup) -> tuple[Any, ...]:
    """A group of failed jobs as a row."""
    example = f"{failed_id(group.example)[:ID_LENGTH]}  {_first_line(group.example.error or '')}"
    return (
        f"{group.count:,}",
        "(others)" if group.others else group.class_name or "(unreadable)",
        group.exception,
        times.distance(group.first_ms),
        times.distance(group.last_ms),
        example.rstrip(),
    )


def tracked_json(task: TrackedTask) -> dict[str, Any]:
    """A tracked task."""
    shown = task.to_json()
    return {**shown, "payload": output.redaction().shown(shown["payload"])}


# -- properties --

_DURATIONS_MS = {
    "frequency_ms", "time_limit_ms", "interval", "retry_interval", "retain_for", "longest_execution",
    "lock_duration",
}  # fmt: skip
_TIMES = ("_time", "_until")


def properties(shown: Mapping[str, Any]) -> dict[str, Any]:
    """What a thing has, by its names in JSON, as names and cells for people."""
    return {name.removesuffix("_ms").replace("_", " "): _property(name, value)
            for name, value in shown.items()}  # fmt: skip


def _property(name: str, value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name in _DURATIONS_MS and isinstance(value, int | float):
        return times.duration(value)
    if name.endswith(_TIMES) and isinstance(value, str):
        ms = round(datetime.fromisoformat(value).timestamp() * 1000)
        return f"{times.local(ms)}, {times.distance(ms)}"
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ", ".join(value)
    return output.compact(value) if isinstance(value, dict | list) else value
