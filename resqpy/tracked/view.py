"""The readable properties of a tracked task."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

from resqpy.base import codec
from resqpy.base.clock import Clock
from resqpy.base.when import Backoff
from resqpy.tracked.record import Record, TaskError, TaskStatus, error_to_dict

_FIRST = (
    "id", "type", "queue", "status", "status_changed_time", "payload", "result", "error", "tags", "priority",
    "enabled", "interval", "timezone", "start_time", "end_time", "next_run_time", "current_run_start_time",
    "last_run", "runs", "attempts", "deliveries", "snoozed", "retries", "retries_remaining",
)  # fmt: skip
_LAST = (
    "linked", "at_most_once", "retry_for_task_ids", "retried_by_task_id", "created_by_application",
    "created_by_user", "create_time", "last_updated_time", "completed_time", "cancelled_time", "retain_for",
    "retain_until", "longest_execution", "lock_duration", "locked_until",
)  # fmt: skip


class RunTimes(NamedTuple):
    """The last run that completed or failed."""

    start_time: datetime
    finish_time: datetime
    succeeded: bool


class TaskView:
    """Read-only properties of a record: numbers are milliseconds, times are aware datetimes in UTC.

    Attributes:
        record: everything known, as of the last read or write.
        payload: the task's inputs.
    """

    payload: Any

    def __init__(self, record: Record, clock: Clock) -> None:
        self.record = record
        self._clock = clock

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
        """The current status, as far as we know."""
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
        """Failed attempts of the current run."""
        return self.record.attempts

    @property
    def deliveries(self) -> int:
        """Deliveries of the current run, without the one in progress."""
        return self.record.deliveries

    @property
    def snoozed(self) -> int:
        """How often the current run was snoozed (`Snooze`)."""
        return self.record.snoozed

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
        """Words by which it can be found."""
        return self.record.tags

    # -- times --

    @property
    def create_time(self) -> datetime:
        """When it was created."""
        return _moment(self.record.created_us // 1000)

    @property
    def last_updated_time(self) -> datetime:
        """When its record was last changed."""
        return _moment(self.record.updated_us // 1000)

    @property
    def status_changed_time(self) -> datetime:
        """When its status last changed."""
        return _moment(self.record.changed_ms)

    @property
    def start_time(self) -> datetime | None:
        """When it was to run first, if specified."""
        return _moment_or_none(self.record.start_ms)

    @property
    def end_time(self) -> datetime | None:
        """The end of its recurrence: no run starts after that."""
        return _moment_or_none(self.record.end_ms)

    @property
    def next_run_time(self) -> datetime | None:
        """When it runs next; in the past while it is pending or running; None: never."""
        return _moment_or_none(self.record.next_run_ms)

    @property
    def current_run_start_time(self) -> datetime | None:
        """When the current run began."""
        return _moment_or_none(self.record.run_start_ms)

    @property
    def last_run(self) -> RunTimes | None:
        """The last run that completed or failed."""
        run = self.record.last_run
        if run is None:
            return None
        return RunTimes(_moment(run.start_ms), _moment(run.finish_ms), run.succeeded)

    @property
    def completed_time(self) -> datetime | None:
        """When it ended: completed, failed, retried or cancelled."""
        us = self.record.completed_us
        return None if us is None else _moment(us // 1000)

    @property
    def cancelled_time(self) -> datetime | None:
        """When it was cancelled."""
        return _moment_or_none(self.record.cancelled_ms)

    @property
    def retain_until(self) -> datetime | None:
        """When its record expires; None: never, or not before it has ended."""
        return _moment_or_none(self.record.retain_until_ms)

    @property
    def locked_until(self) -> datetime | None:
        """When the lock of the current run expires, unless renewed."""
        return None if self.record.lock is None else _moment(self.record.lock.until_ms)

    # -- as specified at creation --

    @property
    def priority(self) -> int:
        """-9 to 9; higher runs first."""
        return self.record.priority

    @property
    def timezone(self) -> str | None:
        """The zone of the cron expression; None: UTC."""
        return self.record.timezone

    @property
    def retries(self) -> int | None:
        """How many times a failed run is retried; None: unlimited."""
        return self.record.retries.most

    @property
    def retries_remaining(self) -> int | None:
        """How many times the current run may still be retried; None: unlimited; 0: it has failed."""
        return self.record.retries_remaining

    @property
    def backoff(self) -> Backoff:
        """How long to wait before each retry."""
        return self.record.retries.backoff

    @property
    def linked(self) -> bool:
        """Whether each attempt is a new task, linked to the previous one."""
        return self.record.retries.linked

    @property
    def at_most_once(self) -> bool:
        """Whether a run that has started is never repeated."""
        return self.record.retries.at_most_once

    @property
    def retry_for_task_ids(self) -> tuple[str, ...]:
        """The tasks that this one retries, the oldest first; of more than 100 the first one and the latest 99."""
        return self.record.retry_for

    @property
    def retried_by_task_id(self) -> str | None:
        """The task that took over."""
        return self.record.retried_by

    @property
    def created_by_application(self) -> str | None:
        """The application that created it."""
        return self.record.application

    @property
    def created_by_user(self) -> str | None:
        """Who created it."""
        return self.record.user

    @property
    def retain_for(self) -> int | None:
        """How long its record is kept after its end; 0: not at all; None: forever."""
        return self.record.retain_ms

    @property
    def lock_duration(self) -> int:
        """How long a lock lasts until it is renewed or lost."""
        return self.record.lock_ms

    @property
    def longest_execution(self) -> int | None:
        """Time limit of one delivery; None: no limit."""
        return self.record.longest_ms

    # -- all of it --

    def to_json(self) -> dict[str, Any]:
        """All properties as JSON values; unset ones are None, times are ISO 8601."""
        backoff = self.record.retries.backoff
        return {
            **{name: _as_json(getattr(self, name)) for name in _FIRST},
            "enabled": self.record.enabled,
            "retry_interval": backoff.first_ms,
            "backoff_factor": backoff.factor,
            **{name: _as_json(getattr(self, name)) for name in _LAST},
        }

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.type!r} {self.status}>"


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def _moment_or_none(ms: int | None) -> datetime | None:
    return None if ms is None else _moment(ms)


def _as_json(value: Any) -> Any:
    match value:
        case datetime():
            return value.isoformat(timespec="milliseconds")
        case RunTimes():
            return {name: _as_json(each) for name, each in value._asdict().items()}
        case TaskError():
            return error_to_dict(value)
        case TaskStatus():
            return value.value
        case tuple():
            return list(value)
    return value
