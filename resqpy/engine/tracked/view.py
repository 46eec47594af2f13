"""What can be seen of a tracked task, whether it waits or runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

from resqpy.base import codec
from resqpy.base.clock import Clock
from resqpy.base.task_ending import error_to_dict
from resqpy.base.task_record import Record, TaskError
from resqpy.base.task_status import TaskStatus


class RunTimes(NamedTuple):
    """The run that completed or failed last."""

    start_time: datetime
    finish_time: datetime
    succeeded: bool


class TaskTimes:
    """The times of a record, as aware datetimes in UTC.

    Attributes:
        record: all that is known, as it was when we last heard of it.
    """

    def __init__(self, record: Record, clock: Clock) -> None:
        self.record = record
        self._clock = clock

    @property
    def create_time(self) -> datetime:
        """When it was created."""
        return _time(self.record.created_us // 1000)

    @property
    def last_updated_time(self) -> datetime:
        """When its record changed last."""
        return _time(self.record.updated_us // 1000)

    @property
    def next_run_time(self) -> datetime | None:
        """When it runs next; past while it is pending or runs; None: not at all."""
        return _time_or_none(self.record.next_run_ms)

    @property
    def current_run_start_time(self) -> datetime | None:
        """When the current run began."""
        return _time_or_none(self.record.run_start_ms)

    @property
    def last_run(self) -> RunTimes | None:
        """The run that completed or failed last."""
        run = self.record.last_run
        if run is None:
            return None
        return RunTimes(_time(run.start_ms), _time(run.finish_ms), run.succeeded)


class TaskView(TaskTimes):
    """Read-only properties over a record."""

    @property
    def id(self) -> str:
        """The unique id."""
        return self.record.id

    @property
    def type(self) -> str:
        """The name of the task."""
        return self.record.type

    @property
    def queue(self) -> str:
        """The queue, without the priority."""
        return self.record.queue

    @property
    def status(self) -> TaskStatus:
        """What it is at now, by what we know."""
        return self.record.status_at(self._clock.now_ms())

    @property
    def enabled(self) -> bool:
        """Whether it may run."""
        return self.record.enabled

    @property
    def interval(self) -> int | str | None:
        """Milliseconds or a cron expression."""
        return self.record.interval

    @property
    def attempts(self) -> int:
        """Attempts of the current run that went wrong."""
        return self.record.attempts

    @property
    def deliveries(self) -> int:
        """Deliveries of the current run, without the one that is going on."""
        return self.record.deliveries

    @property
    def runs(self) -> int:
        """Runs that completed or failed."""
        return self.record.runs

    @property
    def result(self) -> Any:
        """What the last run returned."""
        return None if self.record.result is None else codec.decode_text(self.record.result)

    @property
    def error(self) -> TaskError | None:
        """Why the last attempt or run failed."""
        return self.record.error

    @property
    def tags(self) -> tuple[str, ...]:
        """Words by which it is found."""
        return self.record.tags

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values; what is not set is None, times are ISO 8601."""
        return as_json(self.record, self.status, self._payload_now())

    def _payload_now(self) -> Any:
        return codec.decode_text(self.record.payload)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.type!r} {self.status}>"


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def _time_or_none(ms: int | None) -> datetime | None:
    return None if ms is None else _time(ms)


def _iso(ms: int | None) -> str | None:
    return None if ms is None else _time(ms).isoformat(timespec="milliseconds")


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
        "retries_remaining": record.attempts_left,
        "retry_interval": backoff.first_ms,
        "backoff_factor": backoff.factor,
        "linked": record.retries.linked,
        "at_most_once": record.retries.at_most_once,
        "retry_for_task_ids": list(record.retry_for),
        "retried_by_task_id": record.retried_by,
        "created_by_application": record.application,
        "created_by_user": record.user,
        "create_time": _iso(record.created_us // 1000),
        "last_updated_time": _iso(record.updated_us // 1000),
        "completed_time": None
        if record.completed_us is None
        else _iso(record.completed_us // 1000),
        "cancelled_time": _iso(record.cancelled_ms),
        "retain_for": record.retain_ms,
        "retain_until": _iso(record.retain_until_ms),
        "longest_execution": record.longest_ms,
        "lock_duration": record.lock_ms,
        "locked_until": None if record.lock is None else _iso(record.lock.until_ms),
    }
