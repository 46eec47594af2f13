"""The times of a tracked task, as its record has them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from resqpy.base.clock import Clock
from resqpy.tracked.record import Record


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
        return moment(self.record.created_us // 1000)

    @property
    def last_updated_time(self) -> datetime:
        """When its record changed last."""
        return moment(self.record.updated_us // 1000)

    @property
    def status_changed_time(self) -> datetime:
        """When its status changed last."""
        return moment(self.record.changed_ms)

    @property
    def start_time(self) -> datetime | None:
        """When it was to run first, where that was said."""
        return moment_or_none(self.record.start_ms)

    @property
    def end_time(self) -> datetime | None:
        """The end of its recurrence: no run starts from then on."""
        return moment_or_none(self.record.end_ms)

    @property
    def next_run_time(self) -> datetime | None:
        """When it runs next; past while it is pending or runs; None: not at all."""
        return moment_or_none(self.record.next_run_ms)

    @property
    def current_run_start_time(self) -> datetime | None:
        """When the current run began."""
        return moment_or_none(self.record.run_start_ms)

    @property
    def last_run(self) -> RunTimes | None:
        """The run that completed or failed last."""
        run = self.record.last_run
        if run is None:
            return None
        return RunTimes(moment(run.start_ms), moment(run.finish_ms), run.succeeded)

    @property
    def completed_time(self) -> datetime | None:
        """When it ended: completed, failed, retried or cancelled."""
        us = self.record.completed_us
        return None if us is None else moment(us // 1000)

    @property
    def cancelled_time(self) -> datetime | None:
        """When it was cancelled."""
        return moment_or_none(self.record.cancelled_ms)

    @property
    def retain_until(self) -> datetime | None:
        """When its record goes; None: never, or not before it has ended."""
        return moment_or_none(self.record.retain_until_ms)

    @property
    def locked_until(self) -> datetime | None:
        """When the lock of the run that goes on ends, unless it is renewed."""
        return None if self.record.lock is None else moment(self.record.lock.until_ms)


def moment(ms: int) -> datetime:
    """An aware datetime in UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def moment_or_none(ms: int | None) -> datetime | None:
    """The same, where there may be none."""
    return None if ms is None else moment(ms)
