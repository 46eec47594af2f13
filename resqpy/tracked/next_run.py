"""When a tracked task runs next: as a schedule's times, decided at the end of a run. Pure; irontask's
`computeNextRun`.
"""

from __future__ import annotations

from dataclasses import replace

from resqpy.base.clock import iso_utc
from resqpy.base.cron import CronSchedule
from resqpy.schedules.schedule import CronTimes, Grid
from resqpy.tracked.record import Record, TaskError, but

Interval = int | str | None


def first_run(
    interval: Interval,
    timezone: str | None,
    now_ms: int,
    *,
    start_ms: int | None = None,
    end_ms: int | None = None,
) -> int | None:
    """The first run: at `start_ms`, else at the first time a cron expression names, else now."""
    if start_ms is not None:
        return before_end(start_ms, end_ms)
    if isinstance(interval, str):
        return before_end(cron_after(interval, timezone, now_ms), end_ms)
    return before_end(now_ms, end_ms)


def following_run(record: Record, started_ms: int) -> int | None:
    """The run after one that was started at a time; None if there is none."""
    if isinstance(record.interval, str):
        return before_end(cron_after(record.interval, record.timezone, started_ms), record.end_ms)
    if record.interval is None:
        return None
    return before_end(Grid(started_ms, record.interval).next_after(started_ms), record.end_ms)


NEVER_RUNS = TaskError("neverRuns", "its first run would start when its recurrence is over")


def or_why_not(record: Record, why: TaskError = NEVER_RUNS) -> Record:
    """The record; where it never ran and never will, with that as its error."""
    if record.next_run_ms is not None or record.last_run or record.error:
        return record
    return but(record, error=why)


def why_ended(record: Record) -> TaskError:
    """Why a task that waited runs no more: its end has passed. The error of an attempt stays."""
    assert record.end_ms is not None
    end = iso_utc(record.end_ms * 1000)
    if record.run_start_ms is None:
        return TaskError("neverRuns", f"its end, {end}, had passed when its run was to start")
    if record.error is None:
        return TaskError("endPassed", f"its end, {end}, had passed when its run was to go on")
    words = f"{record.error.message} (not tried again: the task's end, {end}, has passed)"
    return replace(record.error, message=words)


def before_end(run_ms: int | None, end_ms: int | None) -> int | None:
    """The time, unless the recurrence is over by then."""
    if run_ms is None or (end_ms is not None and end_ms <= run_ms):
        return None
    return run_ms


def cron_after(expression: str, timezone: str | None, after_ms: int) -> int | None:
    """The first time an expression names after a moment, in milliseconds.

    Raises:
        InvalidCron: with what is wrong.
    """
    return CronTimes(CronSchedule.parse(expression, timezone)).next_after(after_ms)
