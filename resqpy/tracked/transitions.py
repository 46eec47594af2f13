"""State transitions of tracked tasks: (record, what happened, now) → record. Pure.

| what happened | next run | attempts | deliveries | runs | error |
|---|---|---|---|---|---|
| complete | by delay or interval, else none | 0 | 0 | +1 | gone |
| fail, zombie | by delay or interval, else none | 0 | 0 | +1 | set |
| retry | after the delay or backoff (no attempt left: as fail) | +1 | +1 | | set |
| retry, linked | none: `retried`, and a new task takes over | | | | set |
| defer | after the delay | | +1 | | |
| release, worker stopped | as before: immediately | | +1 | | |
| lock expired, delivery lost | immediately (no attempt left: as zombie) | +1 | +1 | | |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import random as chance
from typing import Any

from resqpy.base import codec
from resqpy.base.clock import iso_utc
from resqpy.base.cron.cron import CronSchedule
from resqpy.schedules.schedule import CronTimes, Grid
from resqpy.tracked.record import LastRun, Patch, Record, RunEnd, RunEndKind, TaskError, but, merged

Interval = int | str | None
NEVER_RUNS = TaskError("neverRuns", "its first run would start after the end of its recurrence")
ZOMBIE = "zombieTaskCleaned"  # Extra Horizon's name
MAX_LINKS = 100  # tasks that a linked retry names: the first one, and the latest


def first_run(
    interval: Interval,
    timezone: str | None,
    now_ms: int,
    *,
    start_ms: int | None = None,
    end_ms: int | None = None,
) -> int | None:
    """The first run: at `start_ms`, else at the first time of a cron expression, else now."""
    if start_ms is not None:
        return before_end(start_ms, end_ms)
    if isinstance(interval, str):
        return before_end(cron_after(interval, timezone, now_ms), end_ms)
    return before_end(now_ms, end_ms)


def following_run(record: Record, started_ms: int) -> int | None:
    """The run after one started at a time; None if there is none."""
    if isinstance(record.interval, str):
        return before_end(cron_after(record.interval, record.timezone, started_ms), record.end_ms)
    if record.interval is None:
        return None
    return before_end(Grid(started_ms, record.interval).next_after(started_ms), record.end_ms)


def or_why_not(record: Record, why: TaskError = NEVER_RUNS) -> Record:
    """The record; if it never ran and never will, with that as its error."""
    if record.next_run_ms is not None or record.last_run or record.error:
        return record
    return but(record, error=why)


def why_ended(record: Record) -> TaskError:
    """Why a waiting task runs no more: its end has passed. The error of an attempt is kept."""
    assert record.end_ms is not None
    end = iso_utc(record.end_ms * 1000)
    if record.run_start_ms is None:
        return TaskError("neverRuns", f"its end, {end}, had passed when its run was due")
    if record.error is None:
        return TaskError("endPassed", f"its end, {end}, had passed when its run was to continue")
    message = f"{record.error.message} (not retried: the task's end, {end}, has passed)"
    return replace(record.error, message=message)


def before_end(run_ms: int | None, end_ms: int | None) -> int | None:
    """The time, unless it is after the end of the recurrence."""
    if run_ms is None or (end_ms is not None and end_ms <= run_ms):
        return None
    return run_ms


def cron_after(expression: str, timezone: str | None, after_ms: int) -> int | None:
    """The first time of an expression after a moment, in milliseconds.

    Raises:
        InvalidCron: what is wrong.
    """
    return CronTimes(CronSchedule.parse(expression, timezone)).next_after(after_ms)


@dataclass(frozen=True, slots=True)
class Change:
    """A step of one task.

    Attributes:
        before: None: it is created.
        after: None: it is removed.
        created: the task that takes over (linked retry).
    """

    before: Record | None
    after: Record | None
    created: Record | None = None


def settled(before: Record, after: Record, now_us: int) -> Record:
    """`after` with its status at a time, and the consequences of a change of status."""
    now_ms = now_us // 1000
    status = after.status_at(now_ms)
    moved = status is not before.status
    ended = moved and status.final
    return but(
        after,
        version=before.version + 1,
        status=status,
        updated_us=now_us,
        changed_ms=now_ms if moved else before.changed_ms,
        completed_us=now_us if ended else after.completed_us,
        retain_until_ms=_retain_until(after, now_ms) if ended else after.retain_until_ms,
    )


def _retain_until(record: Record, now_ms: int) -> int | None:
    return None if record.retain_ms is None else now_ms + record.retain_ms


# -- the end of a delivery --


def apply(record: Record, ending: RunEnd, random: Callable[[], float] = lambda: 0.0) -> Change:
    """The result of an end for a running task."""
    if ending.kind is RunEndKind.DELETE:
        return Change(record, None)
    ended = record if record.ending is None else but(record, ending=None)
    if ending.patch:
        ended = with_payload(ended, ending.patch)
    if ending.kind is RunEndKind.RETRY:
        return _retried(record, ended, ending, random)
    after = but(_ENDS[ending.kind](ended, ending), lock=None)
    return Change(record, settled(record, after, ending.at_us))


def change_of(record: Record, ending: RunEnd) -> Change:
    """The change caused by an end."""
    return apply(record, ending, chance)


def fails(record: Record, ending: RunEnd) -> bool:
    """Whether an end is a failure that is not retried: it belongs in the failed list."""
    hopeless = ending.kind is RunEndKind.RETRY and not record.may_repeat
    return hopeless or ending.kind is RunEndKind.FAIL


def with_payload(record: Record, patch: Patch) -> Record:
    """The record with a changed payload; the payload in its job is remembered."""
    payload = codec.encode_text(merged(codec.decode_text(record.payload), patch)).decode()
    sent = record.payload if record.sent is None else record.sent
    return but(record, payload=payload, sent=None if payload == sent else sent)


def _complete(record: Record, ending: RunEnd) -> Record:
    return _run_over(record, ending, succeeded=True, error=None, result=ending.result, entry=False)


def _fail(record: Record, ending: RunEnd) -> Record:
    return _run_over(record, ending, succeeded=False, error=ending.error, result=None, entry=True)


def _run_over(record: Record, ending: RunEnd, *, succeeded: bool, **more: Any) -> Record:
    """The run has ended; the delay or the interval determines the next one."""
    started_ms = ending.at_ms if record.lock is None else record.lock.since_ms
    if ending.delay_ms is not None:
        next_run_ms: int | None = ending.at_ms + ending.delay_ms
    else:
        next_run_ms = following_run(record, started_ms)
    return but(
        record,
        runs=record.runs + 1,
        attempts=0,
        deliveries=0,
        snoozed=0,
        last_run=LastRun(record.run_start_ms or started_ms, ending.at_ms, succeeded),
        run_start_ms=None,
        next_run_ms=next_run_ms,
        **more,
    )


def _defer(record: Record, ending: RunEnd) -> Record:
    delay_ms = ending.delay_ms or 0
    return but(
        record,
        next_run_ms=ending.at_ms + delay_ms,
        deliveries=record.deliveries + 1,
        snoozed=record.snoozed + ending.snoozed,
    )


def _release(record: Record, _: RunEnd) -> Record:
    return but(record, deliveries=record.deliveries + 1)


def _veto(record: Record, ending: RunEnd) -> Record:
    return but(
        record, next_run_ms=None, run_start_ms=None, cancelled_ms=ending.at_ms, error=ending.error
    )


_ENDS: dict[RunEndKind, Callable[[Record, RunEnd], Record]] = {
    RunEndKind.COMPLETE: _complete,
    RunEndKind.FAIL: _fail,
    RunEndKind.DEFER: _defer,
    RunEndKind.RELEASE: _release,
    RunEndKind.VETO: _veto,
}


def _retried(before: Record, ended: Record, ending: RunEnd, random: Callable[[], float]) -> Change:
    if not before.may_repeat:
        after = but(_fail(ended, replace(ending, delay_ms=None)), lock=None)
        return Change(before, settled(before, after, ending.at_us))
    delay_ms = ending.delay_ms
    if delay_ms is None:
        delay_ms = before.retry_delay_ms(random)
    next_run_ms = ending.at_ms + delay_ms
    if before.retries.linked and ending.new_id:
        return _taken_over(before, ended, ending, next_run_ms)
    after = but(
        ended,
        lock=None,
        next_run_ms=next_run_ms,
        attempts=before.attempts + 1,
        deliveries=before.deliveries + 1,
        error=ending.error,
    )
    return Change(before, settled(before, after, ending.at_us))


def _taken_over(before: Record, ended: Record, ending: RunEnd, next_run_ms: int) -> Change:
    """Extra Horizon's retry: the task ends as `retried`, a new one with its properties follows."""
    over = _run_over(ended, replace(ending, delay_ms=None), succeeded=False)
    old = but(over, lock=None, next_run_ms=None, error=ending.error, retried_by=ending.new_id)
    fresh = but(
        ended,
        id=ending.new_id,
        version=0,
        lock=None,
        sent=None,
        error=None,
        result=None,
        entry=False,
        next_run_ms=next_run_ms,
        run_start_ms=None,
        last_run=None,
        runs=0,
        attempts=before.attempts + 1,
        deliveries=0,
        retry_for=(*before.retry_for[:1], *before.retry_for[1:][-MAX_LINKS + 2 :], before.id),
        created_us=ending.at_us,
        completed_us=None,
    )
    new = but(settled(fresh, fresh, ending.at_us), changed_ms=ending.at_ms)
    return Change(before, settled(before, old, ending.at_us), new)


# -- what happens without an end --


def expired(record: Record, now_us: int, new_id: str = "") -> Change:
    """The lock expired, or a delivery was lost: the outcome of the run is unknown."""
    if record.ending is not None:
        return apply(record, RunEnd.from_dict(codec.decode_text(record.ending)))
    if not record.may_repeat:
        return zombie(record, now_us)
    if record.retries.linked and new_id:
        error = TaskError(ZOMBIE, _UNKNOWN)
        ending = RunEnd(RunEndKind.RETRY, now_us, delay_ms=0, error=error, new_id=new_id)
        return apply(record, ending)
    after = but(
        record,
        lock=None,
        attempts=record.attempts + 1,
        deliveries=record.deliveries + 1,
    )
    return Change(record, settled(record, after, now_us))


_UNKNOWN = (
    "the outcome of the run is unknown: its worker died or froze, or another client took the job"
)


def zombie(record: Record, now_us: int) -> Change:
    """The run ends as failed, because its outcome will never be known."""
    ending = RunEnd(RunEndKind.FAIL, now_us, error=TaskError(ZOMBIE, _UNKNOWN))
    return apply(record, ending)


def untaken(record: Record, now_us: int) -> Change:
    """It was claimed, but its delivery did not begin: as if it had not been claimed."""
    assert record.lock is not None
    first = record.run_start_ms == record.lock.since_ms
    after = but(record, lock=None, run_start_ms=None if first else record.run_start_ms)
    return Change(record, settled(record, after, now_us))


def ended_unrun(record: Record, now_us: int) -> Change:
    """Its end has passed while it waited: it runs no more. An unfinished run has failed."""
    if record.run_start_ms is not None:
        ending = RunEnd(RunEndKind.FAIL, now_us, error=why_ended(record))
        return apply(record, ending)
    after = or_why_not(but(record, next_run_ms=None), why_ended(record))
    return Change(record, settled(record, after, now_us))


def due(record: Record, now_us: int) -> Change:
    """A scheduled task is due."""
    return Change(record, settled(record, record, now_us))


def revived(record: Record, now_us: int) -> Change:
    """A failed task is tried once more, with all its attempts."""
    after = but(
        record,
        next_run_ms=now_us // 1000,
        attempts=0,
        deliveries=0,
        snoozed=0,
        completed_us=None,
        retain_until_ms=None,
        entry=False,
    )
    return Change(record, settled(record, after, now_us))


def hurried(record: Record, now_us: int) -> Change:
    """A waiting task runs now."""
    after = but(record, next_run_ms=now_us // 1000)
    return Change(record, settled(record, after, now_us))


def cancelled(record: Record, now_us: int) -> Change:
    """A task that has not started is cancelled."""
    after = but(record, next_run_ms=None, cancelled_ms=now_us // 1000)
    return Change(record, settled(record, after, now_us))


def enabled(record: Record, now_us: int, *, recompute: bool = False) -> Change:
    """A task may run again; with `recompute`, at the next time of its interval."""
    after = but(record, enabled=True)
    if recompute and record.interval is not None and record.next_run_ms is not None:
        after = but(after, next_run_ms=following_run(record, now_us // 1000))
    return Change(record, settled(record, or_why_not(after), now_us))


def disabled(record: Record, now_us: int) -> Change:
    """A task must not run; a current run is notified."""
    return Change(record, settled(record, but(record, enabled=False), now_us))


def saved(record: Record, patch: Patch, now_us: int) -> Change:
    """The payload was changed."""
    return Change(record, settled(record, with_payload(record, patch), now_us))
