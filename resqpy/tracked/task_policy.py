"""What was said of a tracked task when it was created, and what remains of it."""

from __future__ import annotations

from resqpy.base.backoff import Backoff
from resqpy.tracked.record import Record


class TaskPolicy:
    """Read-only properties over a record; numbers are milliseconds."""

    record: Record

    @property
    def priority(self) -> int:
        """-9 to 9; the higher runs first."""
        return self.record.priority

    @property
    def timezone(self) -> str | None:
        """That of the cron expression; None: UTC."""
        return self.record.timezone

    @property
    def retries(self) -> int | None:
        """How many times a failed run is tried again; None: for ever."""
        return self.record.retries.most

    @property
    def retries_remaining(self) -> int | None:
        """How many times the current run may still be tried again; None: for ever; 0: it has failed."""
        return self.record.retries_remaining

    @property
    def backoff(self) -> Backoff:
        """How long to wait before each retry."""
        return self.record.retries.backoff

    @property
    def linked(self) -> bool:
        """Whether each attempt is a new task, linked to the one before."""
        return self.record.retries.linked

    @property
    def at_most_once(self) -> bool:
        """Whether a run that started is never repeated."""
        return self.record.retries.at_most_once

    @property
    def retry_for_task_ids(self) -> tuple[str, ...]:
        """The tasks that this one retries, the first of them first; of more than 100 the first one
        and the latest 99.
        """
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
        """How long its record is kept after its end; 0: not at all; None: for ever."""
        return self.record.retain_ms

    @property
    def lock_duration(self) -> int:
        """How long a lock lasts until it is renewed or lost."""
        return self.record.lock_ms

    @property
    def longest_execution(self) -> int | None:
        """How long one delivery may take; None: no limit."""
        return self.record.longest_ms
