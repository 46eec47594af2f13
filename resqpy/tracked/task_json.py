"""A tracked task as JSON values."""

from __future__ import annotations

from typing import Any

from resqpy.base import codec
from resqpy.tracked.ending import error_to_dict
from resqpy.tracked.record import Record
from resqpy.tracked.status import TaskStatus
from resqpy.tracked.task_times import moment


def _iso(ms: int | None) -> str | None:
    return None if ms is None else moment(ms).isoformat(timespec="milliseconds")


def _iso_us(us: int | None) -> str | None:
    return None if us is None else _iso(us // 1000)


def as_json(record: Record, status: TaskStatus, payload: Any) -> dict[str, Any]:
    """A record for people, logs and programs."""
    error, run = record.error, record.last_run
    return {
        "id": record.id,
        "type": record.type,
        "queue": record.queue,
        "status": status.value,
        "status_changed_time": _iso(record.changed_ms),
        "payload": payload,
        "result": None if record.result is None else codec.decode_text(record.result),
        "error": None if error is None else error_to_dict(error),
        "tags": list(record.tags),
        "priority": record.priority,
        "enabled": record.enabled,
        "interval": record.interval,
        "timezone": record.timezone,
        "start_time": _iso(record.start_ms),
        "end_time": _iso(record.end_ms),
        "next_run_time": _iso(record.next_run_ms),
        "current_run_start_time": _iso(record.run_start_ms),
        "last_run": None
        if run is None
        else {
            "start_time": _iso(run.start_ms),
            "finish_time": _iso(run.finish_ms),
            "succeeded": run.succeeded,
        },
        "runs": record.runs,
        "attempts": record.attempts,
        "deliveries": record.deliveries,
        **_policy(record),
    }


def _policy(record: Record) -> dict[str, Any]:
    most = record.retries.most
    backoff = record.retries.backoff
    return {
        "retries": most,
        "retries_remaining": record.retries_remaining,
        "retry_interval": backoff.first_ms,
        "backoff_factor": backoff.factor,
        "linked": record.retries.linked,
        "at_most_once": record.retries.at_most_once,
        "retry_for_task_ids": list(record.retry_for),
        "retried_by_task_id": record.retried_by,
        "created_by_application": record.application,
        "created_by_user": record.user,
        "create_time": _iso_us(record.created_us),
        "last_updated_time": _iso_us(record.updated_us),
        "completed_time": _iso_us(record.completed_us),
        "cancelled_time": _iso(record.cancelled_ms),
        "retain_for": record.retain_ms,
        "retain_until": _iso(record.retain_until_ms),
        "longest_execution": record.longest_ms,
        "lock_duration": record.lock_ms,
        "locked_until": None if record.lock is None else _iso(record.lock.until_ms),
    }
