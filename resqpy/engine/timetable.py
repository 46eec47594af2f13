"""What runs by itself, as data: entries, and all their fires between two dates."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from resqpy.base.cron import CronSchedule, Mark
from resqpy.base.periodic import to_datetime, to_ms

Kind = Literal["frequency", "cron", "ruby"]
State = Literal[
    "waiting",  # for its next time
    "under way",  # its one job is queued, delayed or running
    "paused",
    "stopped",  # by hand
    "failed",  # a failed run has ended it
    "inactive",  # no process has the task any more, or it belongs to another environment
    "invalid",  # see the problem
]


@dataclass(frozen=True, slots=True)
class Grid:
    """Times at equal distances.

    Attributes:
        from_ms: one of them.
    """

    from_ms: int
    step_ms: int


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
    times: CronSchedule | Grid | None = None


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
        resting = ("paused", "stopped", "failed", "inactive", "invalid")
        runs = (_fires(each, start, end) for each in self.entries if each.state not in resting)
        return heapq.merge(*runs, key=lambda fire: (fire.at, fire.name))


def _fires(entry: ScheduleEntry, start: datetime, end: datetime) -> Iterable[ScheduledFire]:
    match entry.times:
        case CronSchedule() as cron:
            found = heapq.merge(
                cron.between(start, end), cron.omitted(start, end), key=lambda fire: fire.at
            )
            for each in found:
                yield ScheduledFire(
                    at=each.at, name=entry.name, kind=entry.kind, local=each.local,
                    named=each.named, mark=each.mark, runs=each.runs, note=each.note,
                )  # fmt: skip
        case Grid(from_ms, step_ms):
            first_ms = max(from_ms, from_ms - (from_ms - to_ms(start)) // step_ms * step_ms)
            for at_ms in range(first_ms, to_ms(end) + 1, step_ms):
                at = to_datetime(at_ms)
                if start <= at < end:
                    yield ScheduledFire(at, entry.name, entry.kind, at, at.replace(tzinfo=None))
