"""Jobs, failed jobs, schedules, leaders and tracked tasks as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resqpy.base import codec
from resqpy.base.foreign_time import moment_of
from resqpy.base.masking import Redaction
from resqpy.base.model import FailedJob, Job, UnreadableJob
from resqpy.diagnosis import texts

if TYPE_CHECKING:
    from resqpy.engine.inspect.failed_groups import FailedGroup
    from resqpy.schedules.schedule import Schedule, ScheduledFire
    from resqpy.store.leader import LeaderLock
    from resqpy.tracked.handle import TrackedTask

ID_LENGTH = 10  # displayed hex digits of a failed entry's digest


def job_json(job: Job, redaction: Redaction) -> dict[str, Any]:
    """A job."""
    shown = {"class": job.class_name, "queue": job.queue, "args": job.args, **job.extra}
    if isinstance(job, UnreadableJob):
        return {"queue": job.queue, "problem": job.problem, "bytes": len(job.raw)}
    redacted: dict[str, Any] = redaction.shown(shown)
    return redacted


def failed_id(entry: FailedJob) -> str:
    """The id of an entry in commands: the digest of its bytes."""
    return codec.digest(entry.raw)


def failed_json(entry: FailedJob, redaction: Redaction, *, backtrace: bool) -> dict[str, Any]:
    """A failed entry."""
    failed_ms = moment_of(entry.failed_at)
    shown = {
        "id": failed_id(entry),
        "class": entry.class_name,
        "queue": entry.queue,
        "args": redaction.shown(entry.args),
        "exception": entry.exception,
        "error": entry.error,
        "worker": entry.worker,
        "failed_at": texts.iso(failed_ms),
        "failed_at_ms": failed_ms,
        "retried_at": texts.iso(moment_of(entry.retried_at)),
        "list": entry.source,
    }
    return {**shown, "backtrace": entry.backtrace} if backtrace else shown


def group_json(group: FailedGroup) -> dict[str, Any]:
    """A group of failed jobs."""
    return {
        "class": group.class_name,
        "exception": group.exception,
        "count": group.count,
        "others": group.others,
        "first_at": texts.iso(group.first_ms),
        "first_at_ms": group.first_ms,
        "last_at": texts.iso(group.last_ms),
        "last_at_ms": group.last_ms,
        "example": failed_id(group.example),
        "example_error": group.example.error,
    }


def tracked_json(task: TrackedTask, redaction: Redaction) -> dict[str, Any]:
    """A tracked task."""
    shown = task.to_json()
    return {**shown, "payload": redaction.shown(shown["payload"])}


def schedule_json(entry: Schedule) -> dict[str, Any]:
    """A periodic task or schedule."""
    return {
        "name": entry.name,
        "kind": entry.kind,
        "when": entry.timing,
        "class": entry.class_name,
        "queue": entry.queue or None,
        "state": entry.state,
        "problem": entry.problem or None,
        "last": texts.iso(texts.ms_of(entry.last)),
        "next": texts.iso(texts.ms_of(entry.next)),
    }


def fire_json(fire: ScheduledFire) -> dict[str, Any]:
    """A time at which it runs, or would have run."""
    return {
        "at": texts.iso(texts.ms_of(fire.at)),
        "name": fire.name,
        "kind": fire.kind,
        "runs": fire.runs,
        "local": fire.local.isoformat(),
        "note": fire.note or None,
    }


def leader_json(lock: LeaderLock) -> dict[str, Any]:
    """The lock of a leader."""
    return {
        "language": lock.language,
        "leader": lock.holder,
        "held_by_resqpy": lock.ours,
        "ttl_ms": lock.ttl_ms,
        "key": lock.key,
    }
