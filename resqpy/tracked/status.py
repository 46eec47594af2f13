"""The status of a tracked task: one function of what its record says and of the time. Pure.

| cancelled | retried | next run | last run    | locked | enabled | due | status     |
|-----------|---------|----------|-------------|--------|---------|-----|------------|
| yes       |         |          |             |        |         |     | cancelled  |
|           | yes     |          |             |        |         |     | retried    |
|           |         | none     | succeeded   |        |         |     | completed  |
|           |         | none     | failed/none |        |         |     | failed     |
|           |         | yes      |             | yes    | yes     |     | running    |
|           |         | yes      |             | yes    | no      |     | disabling  |
|           |         | yes      |             | no     | no      |     | disabled   |
|           |         | yes      |             | no     | yes     | yes | pending    |
|           |         | yes      |             | no     | yes     | no  | scheduled  |
"""

from __future__ import annotations

from enum import StrEnum


class TaskStatus(StrEnum):
    """What a task is at; the order is the one in which `query` sorts by status."""

    SCHEDULED = "scheduled"
    PENDING = "pending"
    RUNNING = "running"
    DISABLING = "disabling"
    DISABLED = "disabled"
    COMPLETED = "completed"
    FAILED = "failed"
    RETRIED = "retried"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether no run follows by itself."""
        return self in _FINAL


_FINAL = frozenset(
    {TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.RETRIED, TaskStatus.CANCELLED}
)


def status_of(
    *,
    cancelled: bool,
    retried: bool,
    next_run_ms: int | None,
    succeeded: bool,
    locked_until_ms: int | None,
    enabled: bool,
    now_ms: int,
) -> TaskStatus:
    """The table above. A lock that has expired is none."""
    if cancelled:
        return TaskStatus.CANCELLED
    if retried:
        return TaskStatus.RETRIED
    if next_run_ms is None:
        return TaskStatus.COMPLETED if succeeded else TaskStatus.FAILED
    if locked_until_ms is not None and locked_until_ms > now_ms:
        return TaskStatus.RUNNING if enabled else TaskStatus.DISABLING
    if not enabled:
        return TaskStatus.DISABLED
    return TaskStatus.PENDING if next_run_ms <= now_ms else TaskStatus.SCHEDULED
