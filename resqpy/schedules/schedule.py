"""A schedule as a value, and the rules by which it fires. Pure: no Redis.

A fire up to half a minute late counts as on time, so that a new leader (within 15 s) makes up for all of
them, whatever the schedule's rule. After that it is missed, and the rule decides:

- "skip": missed fires are omitted;
- "once": if any was missed, one job replaces all that are due, for the latest time;
- "all": a job for each.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Literal, NamedTuple, Protocol

from resqpy.base.cron.cron import CronSchedule, Fire, Mark
from resqpy.base.periodic import Missed, next_on_grid, to_datetime, to_ms

ON_TIME_MS = 30_000
MAXIMUM = 500  # fires per step

Kind = Literal["frequency", "cron", "ruby"]
State = Literal[
    "waiting",  # for its next time
    "under way",  # its one job is queued, delayed or running
    "paused",
    "stopped",  # by hand
    "failed",  # ended by a failed run
    "inactive",  # no process has the task any more, or it is for another environment
    "invalid",  # see the problem
]
RESTING: frozenset[State] = frozenset({"paused", "stopped", "failed", "inactive", "invalid"})


class Times(Protocol):
    """Instants in order, in milliseconds since the epoch."""

    def next_after(self, ms: int) -> int | None:
        """The first later time; None: there is none."""

    def last_until(self, ms: int) -> int | None:
        """The last time that is not later."""

    def within(self, after_ms: int, until_ms: int) -> Iterator[int]:
        """Those with `after < time <= until`."""

    def shown(self, start: datetime, end: datetime) -> Iterator[Fire]:
        """Those with `start <= at < end` for display, including local times omitted because the clocks change."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Times at equal intervals.

    Attributes:
        from_ms: the first.
        until_ms: the last possible one; None: no end.
    """

    from_ms: int
    step_ms: int
    until_ms: int | None = None

    def next_after(self, ms: int) -> int | None:
        """The first later time."""
        found = self.from_ms if ms < self.from_ms else next_on_grid(self.from_ms, self.step_ms, ms)
        return None if self.until_ms is not None and found > self.until_ms else found

    def last_until(self, ms: int) -> int | None:
        """The last time that is not later."""
        last_ms = ms if self.until_ms is None else min(ms, self.until_ms)
        return None if last_ms < self.from_ms else last_ms - (last_ms - self.from_ms) % self.step_ms

    def within(self, after_ms: int, until_ms: int) -> Iterator[int]:
        """Those with `after < time <= until`."""
        following = self.next_after(after_ms)
        while following is not None and following <= until_ms:
            yield following
            following = self.next_after(following)

    def shown(self, start: datetime, end: datetime) -> Iterator[Fire]:
        """Those with `start <= at < end`; clock changes don't affect them."""
        for ms in self.within(to_ms(start) - 1, to_ms(end)):
            at = to_datetime(ms)
            if start <= at < end:
                yield Fire(at, at.replace(tzinfo=None), "normal", UTC)


@dataclass(frozen=True, slots=True)
class CronTimes:
    """The times of a cron expression."""

    cron: CronSchedule

    def next_after(self, ms: int) -> int | None:
        """The first later time."""
        found = self.cron.next_after(to_datetime(ms))
        return None if found is None else to_ms(found)

    def last_until(self, ms: int) -> int | None:
        """The last time that is not later."""
        found = self.cron.previous_before(to_datetime(ms + 1))
        return None if found is None else to_ms(found)

    def within(self, after_ms: int, until_ms: int) -> Iterator[int]:
        """Those with `after < time <= until`."""
        found = self.cron.between(to_datetime(after_ms + 1), to_datetime(until_ms + 1))
        return (to_ms(fire.at) for fire in found)

    def shown(self, start: datetime, end: datetime) -> Iterator[Fire]:
        """Those with `start <= at < end`, including the local times that don't run."""
        runs, omitted = self.cron.between(start, end), self.cron.omitted(start, end)
        return heapq.merge(runs, omitted, key=lambda fire: fire.at)


class MissedRule(NamedTuple):
    """What to do about times at which nobody led.

    Attributes:
        window_ms: how far back "once" and "all" look; None: to the first that is due.
        on_time_ms: how late a fire may be without counting as missed.
    """

    what: Missed
    window_ms: int | None = None
    on_time_ms: int = ON_TIME_MS


LATEST = MissedRule("once", on_time_ms=0)  # one job for everything due, however late
NO_TIMES = Grid(1, 1, until_ms=0)


class Declared(Protocol):
    """What a schedule was made from: a task's property, or a Ruby entry."""

    @property
    def timing(self) -> str:
        """Its timing, for people."""

    @property
    def arguments(self) -> Sequence[Any]:
        """The arguments of its jobs."""


class Unreadable(NamedTuple):
    """Stands for a declaration that can't be read."""

    timing: str = ""
    arguments: Sequence[Any] = ()


class Schedule(NamedTuple):
    """A schedule as stored in Redis.

    Attributes:
        name: unique within its source.
        class_name: of its jobs.
        note: up to which time it has been handled, as stored in Redis; empty: nothing yet.
        next_ms: the first time that has not been handled; None: there is none, or it is unknown until its
            job has ended.
        last_ms: when it fired last, for display: for a task the time for which it was enqueued.
        is_new: its note must be written even if nothing is due.
        problem: why it doesn't run, for people.
    """

    name: str
    kind: Kind
    state: State = "invalid"
    class_name: str = ""
    queue: str = ""
    declared: Declared = Unreadable()
    times: Times = NO_TIMES
    missed: MissedRule = LATEST
    note: str = ""
    next_ms: int | None = None
    last_ms: int | None = None
    is_new: bool = False
    problem: str = ""

    def is_due(self, now_ms: int) -> bool:
        """Whether there is something to do."""
        return self.is_new or (self.next_ms is not None and self.next_ms <= now_ms)

    @property
    def timing(self) -> str:
        """Its timing, as declared."""
        return self.declared.timing

    @property
    def last(self) -> datetime | None:
        """When it fired last."""
        return None if self.last_ms is None else to_datetime(self.last_ms)

    @property
    def next(self) -> datetime | None:
        """When it fires next; None if unknown or inactive."""
        resting = self.next_ms is None or self.state in RESTING
        return None if resting else to_datetime(self.next_ms or 0)


@dataclass(frozen=True, slots=True)
class ScheduledFire:
    """One fire of a schedule.

    Attributes:
        at: the instant, in UTC.
        local: the same in its zone's local time (for a frequency: in UTC).
        named: the local time that a cron expression names; it may not exist.
        mark: `skipped`: that local time doesn't exist; `doubled`: it occurs twice.
        runs: False: listed only because of its mark, it does not run.
        note: the mark for people.
    """

    at: datetime
    name: str
    kind: Kind
    local: datetime
    named: datetime
    mark: Mark
    runs: bool
    note: str


@dataclass(frozen=True, slots=True)
class Timetable:
    """All schedules at one moment."""

    now: datetime
    entries: tuple[Schedule, ...]

    def fires(self, start: datetime, end: datetime) -> Iterator[ScheduledFire]:
        """All fires with `start <= at < end` in order, with the skipped and repeated local times that don't
        run. For a frequency, as if each run ended within its period. Inactive schedules have none.
        """
        runs = (_shown(each, start, end) for each in self.entries if each.state not in RESTING)
        return heapq.merge(*runs, key=lambda fire: (fire.at, fire.name))


def _shown(schedule: Schedule, start: datetime, end: datetime) -> Iterator[ScheduledFire]:
    for each in schedule.times.shown(start, end):
        yield ScheduledFire(
            each.at, schedule.name, schedule.kind, each.local, each.named, each.mark, each.runs,
            each.note,
        )  # fmt: skip


class Plan(NamedTuple):
    """What to do now.

    Attributes:
        fires: the times (ms) that get a job each, in order.
        settled_ms: up to which time the schedule will be handled then.
        next_ms: the first time not handled then; it may be in the past.
    """

    fires: Sequence[int]
    settled_ms: int
    next_ms: int | None


def plan(schedule: Schedule, now_ms: int) -> Plan:
    """What to do now for a schedule that is due."""
    first_ms, times = schedule.next_ms, schedule.times
    if first_ms is None or first_ms > now_ms:
        return Plan((), now_ms, first_ms)  # only its note is new
    fires = () if schedule.state in RESTING else _due(times, schedule.missed, first_ms, now_ms)
    settled_ms = fires[-1] if fires else now_ms
    return Plan(fires, settled_ms, times.next_after(settled_ms))


def _due(times: Times, rule: MissedRule, first_ms: int, now_ms: int) -> Sequence[int]:
    """The due times, from the first on, that get a job."""
    on_time_ms = max(first_ms - 1, now_ms - rule.on_time_ms)  # later ones were not missed
    after_ms = first_ms - 1
    if rule.what == "skip":
        after_ms = on_time_ms
    elif rule.window_ms is not None:
        after_ms = max(after_ms, min(on_time_ms, now_ms - rule.window_ms))
    if rule.what == "once":
        following = times.next_after(after_ms)
        if following is None or following > now_ms:
            return ()
        if following <= on_time_ms:
            last_ms = times.last_until(now_ms)
            return () if last_ms is None else (last_ms,)
    return tuple(islice(times.within(after_ms, now_ms), MAXIMUM))
