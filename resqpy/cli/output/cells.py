"""Jobs, failed jobs, workers and the like as cells of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from resqpy.base.foreign_time import moment_of
from resqpy.base.model import FailedJob, Job, NoList, UnreadableJob, WorkerId
from resqpy.cli.output import printing as output
from resqpy.diagnosis import texts
from resqpy.diagnosis.workers import ID_LENGTH, failed_id

if TYPE_CHECKING:
    from resqpy.diagnosis.workers import SeenWorker
    from resqpy.engine.inspect.failed_jobs import FailedGroup
    from resqpy.framework.tasks.spec import TaskSpec


def length(number: int) -> str:
    """How many jobs wait in a queue, or why that is unknown."""
    return number.words if isinstance(number, NoList) else str(number)


Tasks = Mapping[str, "TaskSpec"]  # by name; see `tasks_of`
NO_TASKS: Tasks = {}


def job_cells(job: Job, tasks: Tasks = NO_TASKS) -> tuple[str, str]:
    """The class and the arguments of a job, or why it is invalid."""
    if isinstance(job, UnreadableJob):
        return "(unreadable)", f"{len(job.raw)} bytes: {job.problem}"
    return job.class_name, job_args(job, tasks)


def job_args(job: Job | FailedJob, tasks: Tasks) -> str:
    """The arguments of a job as one line, with their names if its task takes them by position."""
    values, named = _values(job, tasks)
    return args(values if named is None else [named])


def with_inputs(shown: dict[str, Any], job: Job | FailedJob, tasks: Tasks) -> dict[str, Any]:
    """The JSON of a job; also with its inputs by name if its task takes them by position."""
    if "args" not in shown:
        return shown
    values, named = _values(job, tasks)
    more = {} if named is None else {"inputs": output.redaction().shown(named)}
    return {**shown, "args": output.redaction().shown(values), **more}


def _values(job: Job | FailedJob, tasks: Tasks) -> tuple[list[Any], dict[str, Any] | None]:
    """The arguments without secrets, also where they don't fit; and by name if its task takes them so."""
    if not tasks:
        return job.args, None
    from resqpy.framework.tasks.arguments import named_args, shown_args

    task = tasks.get(job.class_name or "")
    named = named_args(task, job.args)
    values = shown_args(task, job.args, output.redaction())
    return values, None if named is None else dict(named)


def args(values: Sequence[Any]) -> str:
    """Arguments as one line; ActionHero's single object without the list around it."""
    only = values[0] if len(values) == 1 and isinstance(values[0], dict) else list(values)
    return output.compact(output.redaction().shown(only))


def failed_cells(entry: FailedJob) -> tuple[str | None, ...]:
    """A failed entry as a row."""
    failed_ms = moment_of(entry.failed_at)
    when = texts.distance(failed_ms) if failed_ms else entry.failed_at
    return (
        failed_id(entry)[:ID_LENGTH],
        when if entry.retried_at is None else f"{when} (retried)",  # Ruby keeps what it retried
        entry.class_name or "(unreadable)",
        entry.queue,
        _first_line(": ".join(filter(None, (entry.exception, entry.error)))) or None,
    )


def _first_line(words: str) -> str:
    """An error in a table: Ruby's errors contain lines of source."""
    first, _, more = words.partition("\n")
    return f"{first} …" if more.strip() else first


FAILED_HEADS = ("id", "failed", "class", "queue", "error")
GROUP_HEADS = ("jobs", "class", "exception", "first", "last", "example")


def group_cells(group: FailedGroup) -> tuple[Any, ...]:
    """A group of failed jobs as a row."""
    example = f"{failed_id(group.example)[:ID_LENGTH]}  {_first_line(group.example.error or '')}"
    return (
        f"{group.count:,}",
        "(others)" if group.others else group.class_name or "(unreadable)",
        group.exception,
        texts.distance(group.first_ms),
        texts.distance(group.last_ms),
        example.rstrip(),
    )


# -- properties --

_DURATIONS_MS = {
    "frequency_ms", "time_limit_ms", "expires_ms", "deadline_ms", "interval", "retry_interval", "retain_for",
    "longest_execution", "lock_duration",
}  # fmt: skip
_TIMES = ("_time", "_until")


def properties(shown: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON properties of something, as names and cells for people."""
    return {name.removesuffix("_ms").replace("_", " "): _property(name, value)
            for name, value in shown.items()}  # fmt: skip


def _property(name: str, value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name in _DURATIONS_MS and isinstance(value, int | float):
        return texts.duration(value)
    if name.endswith(_TIMES) and isinstance(value, str):
        ms = round(datetime.fromisoformat(value).timestamp() * 1000)
        return f"{texts.local(ms)}, {texts.distance(ms)}"
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ", ".join(value)
    return output.compact(value) if isinstance(value, dict | list) else value


# -- workers --

WORKER_HEADS = ("worker", "language", "works on", "seen", "queues")
_ROUNDED_MS = 1000


def worker_cells(worker: SeenWorker, now_ms: int) -> tuple[str, ...]:
    """A worker as a row."""
    state = worker.state or "idle"
    if worker.work is not None:
        said = worker.state if worker.registered else "not registered"
        more = f" ({said})" if said else ""
        since = f" for {texts.duration(now_ms - worker.began_ms)}" if worker.began_ms else ""
        state = f"{worker.class_name or '(unreadable)'}{since}{more}"
    ahead_ms = (worker.seen_ms or 0) - now_ms  # Node rounds its time
    seen = texts.distance(now_ms if 0 < ahead_ms <= _ROUNDED_MS else worker.seen_ms, now_ms)
    tells = worker.life(now_ms) != "can't tell"
    return (
        WorkerId.parse(worker.worker_id).name,
        worker.language,
        state,
        seen if tells else "can't tell",
        worker.queues,
    )


def tell_how_far(*, everything: bool) -> None:
    """Say that a search for unregistered workers did not scan all keys."""
    from resqpy.store.repair.checkup import KEYS_LOOKED_AT

    if not everything:
        output.note(
            f"(records of unregistered workers: searched in at most {KEYS_LOOKED_AT:,} keys; resqpy doctor "
            "scans all)"
        )
