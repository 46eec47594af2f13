"""The record of a tracked task, and the end of one delivery of it, as immutable values. Pure;
`tracked/records.py` writes and reads them.

Times are milliseconds since the epoch (`_ms`); those by which records are sorted are microseconds (`_us`),
so that they hardly ever coincide.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from resqpy.base import codec
from resqpy.base.errors import class_of, message_of
from resqpy.base.when import Backoff
from resqpy.engine.lifecycle import RetryPolicy
from resqpy.engine.traceback_text import lines_of

# Merging concurrent saves of one payload: the difference of two JSON values, applied to a third. Pure.
#
# The idea is irontask's (a JSON merge patch, RFC 7396), but None remains a value: a patch lists separately
# what is set, removed and changed inside.

Patch = dict[str, Any]

_SET, _REMOVED, _INSIDE, _WHOLE = "set", "removed", "inside", "whole"


def difference(before: Any, after: Any) -> Patch:
    """The patch from `before` to `after`; empty if they are equal."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return {} if _same(before, after) else {_WHOLE: copy.deepcopy(after)}
    patch: Patch = {}
    if removed := [name for name in before if name not in after]:
        patch[_REMOVED] = removed
    for name, value in after.items():
        _compare(patch, name, before, value)
    return patch


def _compare(patch: Patch, name: str, before: dict[str, Any], value: Any) -> None:
    if name in before and isinstance(before[name], dict) and isinstance(value, dict):
        if inside := difference(before[name], value):
            patch.setdefault(_INSIDE, {})[name] = inside
    elif name not in before or not _same(before[name], value):
        patch.setdefault(_SET, {})[name] = copy.deepcopy(value)


def _same(one: Any, other: Any) -> bool:
    """Whether they are equal in JSON, where True differs from 1 and 1.0 from 1."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    return bool(one == other)


def merged(target: Any, patch: Patch) -> Any:
    """`target` with the patch applied; neither is changed."""
    if _WHOLE in patch:
        return copy.deepcopy(patch[_WHOLE])
    if not patch:
        return target
    result = dict(target) if isinstance(target, dict) else {}
    for name in patch.get(_REMOVED, ()):
        result.pop(name, None)
    result.update(copy.deepcopy(patch.get(_SET, {})))
    for name, inside in patch.get(_INSIDE, {}).items():
        result[name] = merged(result.get(name), inside)
    return result


__all__ = [
    "LOCK_MS", "LastRun", "Record", "Retries", "RunEnd", "RunEndKind", "TaskError", "TaskLock",
    "TaskStatus", "but", "error_from_dict", "error_of", "error_to_dict", "made_of", "status_of",
]  # fmt: skip

LOCK_MS = 30_000  # irontask's default
_BARE = '{"kind":"%s","at":%d}'  # what most ends are; encoding it would cost more than a run should


class TaskStatus(StrEnum):
    """The status of a task; the order is the one in which `query` sorts by status."""

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
    """The status that follows from a record and the time. An expired lock counts as none.

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


@dataclass(frozen=True, slots=True)
class LastRun:
    """The last run that completed or failed."""

    start_ms: int
    finish_ms: int
    succeeded: bool


@dataclass(frozen=True, slots=True)
class TaskError:
    """Why a run failed.

    Attributes:
        type: the kind of error; `runtime` for what a handler raised.
    """

    name: str
    message: str
    type: str = "runtime"
    backtrace: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Retries(RetryPolicy):
    """What happens when a run fails: a policy and its options.

    Attributes:
        linked: the next attempt is a new task, linked to this one.
        at_most_once: a run that has started is never repeated, even if its end is unknown.
        said: which of `retries` and `backoff` its creator set; the rest comes from the task's definition,
            else from a preset.
    """

    most: int | None = 4
    backoff: Backoff = field(default_factory=Backoff)
    linked: bool = False
    at_most_once: bool = False
    said: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskLock:
    """Who runs the task.

    Attributes:
        token: worker id and run; unique.
        until_ms: when it expires unless renewed.
        since_ms: when this delivery began.
    """

    token: str
    until_ms: int
    since_ms: int


@dataclass(frozen=True)
class Record:
    """Everything known about a task.

    Attributes:
        version: incremented with each change except renewals of the lock.
        status: as of the last change; `status_at` returns it as of a time.
        payload, result: JSON texts.
        sent: the payload in the job, if it was changed since; the job's bytes never change.
        interval: milliseconds, or a cron expression (in `timezone`).
        end_ms: no run starts after that.
        run_start_ms: when the current run began; it may take several deliveries.
        runs: how many runs completed or failed.
        attempts, deliveries: of the current run, without the one in progress.
        snoozed: how often the current run was snoozed.
        retain_ms: how long the record is kept after its end; None: forever, 0: not at all.
        longest_ms: how long one delivery may take before its lock is no longer renewed; 0: no limit.
        ending: the end of a run that could not be applied in the step that ended it.
        entry: its last end is in the failed list.
    """

    id: str
    type: str
    queue: str
    payload: str = "{}"
    version: int = 1
    status: TaskStatus = TaskStatus.PENDING
    priority: int = 0
    sent: str | None = None
    result: str | None = None
    error: TaskError | None = None
    tags: tuple[str, ...] = ()
    enabled: bool = True
    interval: int | str | None = None
    timezone: str | None = None
    start_ms: int | None = None
    end_ms: int | None = None
    next_run_ms: int | None = None
    run_start_ms: int | None = None
    last_run: LastRun | None = None
    runs: int = 0
    attempts: int = 0
    deliveries: int = 0
    snoozed: int = 0
    retries: Retries = field(default_factory=Retries)
    retry_for: tuple[str, ...] = ()
    retried_by: str | None = None
    application: str | None = None
    user: str | None = None
    created_us: int = 0
    updated_us: int = 0
    completed_us: int | None = None
    cancelled_ms: int | None = None
    changed_ms: int = 0
    retain_ms: int | None = None
    retain_until_ms: int | None = None
    longest_ms: int | None = None
    lock_ms: int = LOCK_MS
    lock: TaskLock | None = None
    ending: str | None = None
    entry: bool = False

    def status_at(self, now_ms: int) -> TaskStatus:
        """The status at a time."""
        return status_of(
            cancelled=self.cancelled_ms is not None,
            retried=self.retried_by is not None,
            next_run_ms=self.next_run_ms,
            succeeded=self.last_run is not None and self.last_run.succeeded,
            locked_until_ms=None if self.lock is None else self.lock.until_ms,
            enabled=self.enabled,
            now_ms=now_ms,
        )

    def left_alone(self, now_ms: int) -> bool:
        """Whether its lock has expired while it runs: its worker has died, or is too late."""
        if self.status not in {TaskStatus.RUNNING, TaskStatus.DISABLING}:
            return False
        return self.lock is None or self.lock.until_ms <= now_ms

    def past_end(self, now_ms: int) -> bool:
        """Whether its end has passed, so that no run starts any more."""
        return self.end_ms is not None and self.end_ms <= now_ms

    @property
    def attempts_left(self) -> int | None:
        """How many times the current run may still be retried; None: unlimited."""
        return self.retries.left(self.attempts)

    @property
    def retries_remaining(self) -> int | None:
        """The same for display: 0 once it has failed permanently."""
        over = self.status in {TaskStatus.FAILED, TaskStatus.RETRIED}
        return 0 if over else self.attempts_left

    @property
    def may_repeat(self) -> bool:
        """Whether a failed attempt is followed by another."""
        return self.attempts_left != 0

    def retry_delay_ms(self, random: Callable[[], float] = random.random) -> int:
        """Milliseconds until the next attempt, should this one fail."""
        return self.retries.backoff.delay_ms(self.attempts, random)


def made_of(values: dict[str, Any]) -> Record:
    """A record with these values; missing ones have their defaults.

    Raises:
        KeyError: a required one is missing.
    """
    made = object.__new__(Record)
    made.__dict__.update(_USUAL)
    made.__dict__.update(values)
    if len(made.__dict__) != _COUNT:
        raise KeyError(*sorted({each.name for each in fields(Record)} - set(made.__dict__)))
    return made


_COUNT = len(fields(Record))
_USUAL = {
    each.name: Retries() if each.name == "retries" else each.default
    for each in fields(Record)
    if each.default is not MISSING or each.default_factory is not MISSING
}

if TYPE_CHECKING:
    from dataclasses import replace as but
else:

    def but(record: Record, **changes: Any) -> Record:
        """The record with some values changed: `dataclasses.replace`, ten times as fast (2 µs; each run of
        a task makes five).
        """
        made = object.__new__(Record)
        made.__dict__.update(record.__dict__)
        made.__dict__.update(changes)
        return made


# -- the end of a delivery --


class RunEndKind(StrEnum):
    """irontask's ways to finish (and `veto`: a plugin of ours forbade the run)."""

    COMPLETE = "complete"
    FAIL = "fail"
    RETRY = "retry"
    DEFER = "defer"
    RELEASE = "release"
    DELETE = "delete"
    VETO = "veto"


@dataclass(frozen=True, slots=True)
class RunEnd:
    """The end of a delivery.

    Attributes:
        at_us: when.
        delay_ms: until the next run or attempt; None: by the task's own rules.
        result: JSON text.
        patch: the run's changes of the payload.
        new_id: the id of the task that takes over if a linked retry follows.
        snoozed: the run was snoozed.
    """

    kind: RunEndKind
    at_us: int
    delay_ms: int | None = None
    error: TaskError | None = None
    result: str | None = None
    patch: Patch | None = None
    new_id: str = ""
    snoozed: bool = False

    @property
    def at_ms(self) -> int:
        """When, in milliseconds."""
        return self.at_us // 1000

    @property
    def bare(self) -> bool:
        """Whether it has only a kind and a time."""
        said = (self.delay_ms, self.error, self.result, self.patch, self.new_id or None)
        return said == (None, None, None, None, None) and not self.snoozed

    def to_dict(self) -> dict[str, Any]:
        """The form kept in a record until somebody applies it; unset fields are omitted."""
        said = {
            "delay": self.delay_ms,
            "error": None if self.error is None else error_to_dict(self.error),
            "result": self.result,
            "patch": self.patch,
            "new_id": self.new_id or None,
            "snoozed": self.snoozed or None,
        }
        plain = {"kind": self.kind.value, "at": self.at_us}
        return plain | {name: value for name, value in said.items() if value is not None}

    @property
    def note(self) -> str | bytes:
        """The same as text."""
        if self.bare:
            return _BARE % (self.kind.value, self.at_us)
        return codec.encode_text(self.to_dict())

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RunEnd:
        """Parse `to_dict()`."""
        error = data.get("error")
        return cls(
            RunEndKind(data["kind"]),
            int(data["at"]),
            data.get("delay"),
            None if error is None else error_from_dict(error),
            data.get("result"),
            data.get("patch"),
            data.get("new_id") or "",
            bool(data.get("snoozed")),
        )


def error_to_dict(error: TaskError) -> dict[str, Any]:
    """An error as JSON values; the first three are those of Extra Horizon's `task_failed`."""
    shown: dict[str, Any] = {"type": error.type, "name": error.name, "message": error.message}
    if error.backtrace:
        shown["backtrace"] = list(error.backtrace)
    return shown


def error_from_dict(data: Mapping[str, Any]) -> TaskError:
    """Parse `error_to_dict()`."""
    return TaskError(
        str(data.get("name", "")),
        str(data.get("message", "")),
        str(data.get("type", "runtime")),
        tuple(map(str, data.get("backtrace", ()))),
    )


def error_of(error: BaseException) -> TaskError:
    """The part of an error that a record keeps."""
    lines = tuple(map(codec.clean, lines_of(error)))
    return TaskError(class_of(error), codec.clean(message_of(error)), backtrace=lines)
