"""The sorted sets that contain a tracked task: a function of its record. Pure.

| sorted set | of | score |
|---|---|---|
| by:created, also by type, each tag, application, user | all tasks | created |
| by:status:<status>, also by type | all tasks | created |
| by:modified, also by type | all tasks | last changed |
| by:completed, also by type | ended tasks | ended |
| locks | running tasks | end of the lock |
| scheduled | scheduled tasks | when due |
| pending | pending tasks | since when due |
| expiring | ended tasks that are not kept forever | end of the retention |
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from resqpy.base.keys import Keys
from resqpy.tracked.record import Record, TaskStatus

Entries = dict[str, int]


class _Names(NamedTuple):
    """The sets of all tasks and of those of one type."""

    created: tuple[str, str]
    modified: tuple[str, str]
    completed: tuple[str, str]
    status: dict[str, tuple[str, str]]


@lru_cache(maxsize=4096)
def _names(keys: Keys, kind: str) -> _Names:
    """They are the same for each run of a type, and making them costs more than a run should."""

    def both(order: str, *of: str) -> tuple[str, str]:
        return keys.tasks_by(order, *of), keys.tasks_by(order, *of, "type", kind)

    statuses = {status.value: both("status", status.value) for status in TaskStatus}
    return _Names(both("created"), both("modified"), both("completed"), statuses)


def status_sets(keys: Keys) -> dict[str, str]:
    """The set of all tasks with each status."""
    return {status.value: keys.tasks_by("status", status.value) for status in TaskStatus}


def entries(keys: Keys, record: Record) -> Entries:
    """Sorted sets by key, with the score."""
    names = _names(keys, record.type)
    created = record.created_us
    found = dict.fromkeys((*names.created, *names.status[record.status]), created)
    found.update(dict.fromkeys(names.modified, record.updated_us))
    if record.completed_us is not None:
        found.update(dict.fromkeys(names.completed, record.completed_us))
    for of in _filters(record):
        found[keys.tasks_by("created", *of)] = created
    found.update(_waiting(keys, record))
    return found


def _filters(record: Record) -> list[tuple[str, str]]:
    filters = [("tag", tag) for tag in record.tags]
    if record.application is not None:
        filters.append(("application", record.application))
    if record.user is not None:
        filters.append(("user", record.user))
    return filters


def _waiting(keys: Keys, record: Record) -> Entries:
    """The sets in which the leader finds what it has to handle."""
    found: Entries = {}
    if record.status is TaskStatus.SCHEDULED and record.next_run_ms is not None:
        found[keys.tasks_scheduled] = record.next_run_ms
    if record.status is TaskStatus.PENDING:
        found[keys.tasks_pending] = record.changed_ms
    if record.lock is not None:
        found[keys.task_locks] = record.lock.until_ms
    if record.retain_until_ms is not None:
        found[keys.tasks_expiring] = record.retain_until_ms
    return found


def moves(keys: Keys, before: Record, after: Record) -> list[tuple[str, int | str]]:
    """The sorted sets that a task leaves (an empty text) or in which its score changes, from one state to
    the next: the difference of their entries, at a fraction of the cost.
    """
    names = _names(keys, after.type)
    found: list[tuple[str, int | str]] = []
    if after.status is not before.status:
        found += [(key, "") for key in names.status[before.status]]
        found += [(key, after.created_us) for key in names.status[after.status]]
    if after.updated_us != before.updated_us:
        found += [(key, after.updated_us) for key in names.modified]
    if after.completed_us != before.completed_us:
        score = "" if after.completed_us is None else after.completed_us
        found += [(key, score) for key in names.completed]
    old, new = _waiting(keys, before), _waiting(keys, after)
    found += [(key, "") for key in old if key not in new]
    found += [(key, score) for key, score in new.items() if old.get(key) != score]
    return found
