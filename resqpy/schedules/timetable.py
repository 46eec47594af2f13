"""What runs by itself, as data: entries, and all their fires between two dates."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from resqpy.base.cron import Mark
from resqpy.base.periodic import to_datetime
from resqpy.schedules.schedule import RESTING, Kind, Schedule, State, Times


@dataclass(frozen=True, slots=True)
class ScheduleEntry:
    """One thing that runs by itself.

    Attributes:
        kind: a task's frequency or cron, or a schedule of Ruby's.
        timing: what was written of its times.
        last: for which time it was enqueued last (Ruby's: when).
        next: when it is enqueued next; None where that can't be told, or where it rests.
        problem: why it is invalid.
        times: from which its fires are computed.
    """

    name: str
    kind: Kind
    timing: str
    class_name: str
    queue: str | None
    state: State
    last: datetime | None = None
    next: datetime | None = None
    problem: str = ""
    times: Times | None = None


@dataclass(frozen=True, slots=True)
class ScheduledFire:
    """One fire of one of them.

    Attributes:
        at: the instant, in UTC.
        local: the same as the clocks of its zone show it (of a frequency: in UTC).
        named: the local time that a cron expression names; it may not exist.
        mark: `skipped`: that local time doesn't exist; `doubled`: it comes twice.
        runs: False: told only because of its mark, it does not run.
        note: the mark for people.
    """

    at: datetime
    name: str
    kind: Kind
    local: datetime
    named: datetime
    mark: Mark = "normal"
    runs: bool = True
    note: str = ""


@dataclass(frozen=True, slots=True)
class Timetable:
    """All of them at one moment."""

    now: datetime
    entries: tuple[ScheduleEntry, ...]

    def fires(self, start: datetime, end: datetime) -> Iterator[ScheduledFire]:
        """All fires with `start <= at < end` in order, with the skipped and doubled local times that
        don't run. Of a frequency, as if each run ended within its period. What rests has none.
        """
        runs = (_fires(each, start, end) for each in self.entries if each.state not in RESTING)
        return heapq.merge(*runs, key=lambda fire: (fire.at, fire.name))


def entry_of(schedule: Schedule, now_ms: int) -> ScheduleEntry:
    """A schedule for people."""
    next_ms = schedule.next_ms
    if schedule.kind == "cron" and next_ms is not None and next_ms <= now_ms:
        next_ms = schedule.times.next_after(now_ms)
    if schedule.state in RESTING:
        next_ms = None
    return ScheduleEntry(
        name=schedule.name,
        kind=schedule.kind,
        timing=schedule.declared.timing,
        class_name=schedule.class_name,
        queue=schedule.queue,
        state=schedule.state,
        last=None if schedule.last_ms is None else to_datetime(schedule.last_ms),
        next=None if next_ms is None else to_datetime(next_ms),
        problem=schedule.problem,
        times=schedule.times,
    )


def _fires(entry: ScheduleEntry, start: datetime, end: datetime) -> Iterator[ScheduledFire]:
    assert entry.times is not None
    for each in entry.times.shown(start, end):
        yield ScheduledFire(
            at=each.at, name=entry.name, kind=entry.kind, local=each.local,
            named=each.named, mark=each.mark, runs=each.runs, note=each.note,
        )  # fmt: skip
