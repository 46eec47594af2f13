"""When a tracked task runs next. Pure; irontask's `computeNextRun`."""

from __future__ import annotations

from datetime import UTC, datetime

from resqpy.base.cron import CronSchedule
from resqpy.base.task_record import Record, TaskError, but
from resqpy.base.when import moment_ms

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
    return before_end(started_ms + record.interval, record.end_ms)


def or_why_not(record: Record) -> Record:
    """The record; where it never ran and never will, with that as its error."""
    if record.next_run_ms is not None or record.last_run or record.error:
        return record
    return but(record, error=_NEVER_RUNS)


_NEVER_RUNS = TaskError("neverRuns", "its first run would start when its recurrence is over")


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
    schedule = CronSchedule.parse(expression, timezone)
    fire = schedule.next_after(datetime.fromtimestamp(after_ms / 1000, UTC))
    return None if fire is None else moment_ms(fire)
