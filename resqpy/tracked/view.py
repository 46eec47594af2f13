"""What can be seen of a tracked task, whether it waits or runs."""

from __future__ import annotations

from typing import Any

from resqpy.base import codec
from resqpy.tracked.record import TaskError
from resqpy.tracked.status import TaskStatus
from resqpy.tracked.task_json import as_json
from resqpy.tracked.task_policy import TaskPolicy
from resqpy.tracked.task_times import TaskTimes


class TaskView(TaskTimes, TaskPolicy):
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
