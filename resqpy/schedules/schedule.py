"""A schedule as a value, and the rules by which it fires. Pure: no Redis.

A fire up to half a minute late counts as on time, so that a new leader (within 15 s) makes up for all of
them, whatever the schedule's rule. After that it is missed, and the rule decides:

- "skip": missed fires are omitted;
- "once": if any was missed, one job replaces all that are due, for the latest time;
- "all": a job for each.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Literal, NamedTuple, Protocol

from resqpy.base.cron.cron import CronSchedule, Fire, Mark
from resqpy.base.errors import StoreError
from resqpy.base.foreign_time import LATEST_MS
from resqpy.base.periodic import Missed, next_on_grid, to_datetime, to_ms
from resqpy.store.connection.client import Store
from resqpy.store.delayed import FencingToken
from resqpy.store.periodic import CHANGED, DueJob, Firing, History, fire
from resqpy.store.queues import Guard

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


# The one chore that fires schedules, whatever their source.
#
# Each schedule has a note in Redis. It changes in the step that enqueues the jobs, and only if it still has
# the value that was read. So no fire is doubled, and none is omitted except by the schedule's own rule, even
# if processes die or clocks jump. Time is Redis' clock.

_AFTER_CHANGE_MS, _AFTER_ERROR_MS = 100, 1000

Emit = Callable[..., None]


class LeaderClock(Protocol):
    """Redis' clock as the leader estimates it."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""

    def note(self, time_us: int) -> None:
        """Record Redis' time, just received, in microseconds since the epoch."""


class Leader(FencingToken, Protocol):
    """The right to write as leader, with the clock that all leaders share."""

    @property
    def clock(self) -> LeaderClock:
        """Redis' clock."""


class EnqueueHooks(Protocol):
    """The enqueue hooks of the tasks' plugins."""

    def guards(self, queue: str, name: str, args: Sequence[Any]) -> Sequence[Guard]:
        """The locks to check in the script."""

    async def allowed(
        self, queue: str, name: str, args: Sequence[Any], *, fixed: bool
    ) -> Sequence[Any] | None:
        """The arguments after the hooks; None: a hook forbids the job.

        Args:
            fixed: its bytes already exist, so hooks can only forbid it.
        """

    async def enqueued(self, queue: str, name: str, args: Sequence[Any], at_ms: int) -> None:
        """Call the hooks and the listeners of `enqueue`."""


class Look(NamedTuple):
    """Result of reading a source.

    Attributes:
        schedules: those the leader runs.
        again_ms: when the source wants to be read again; None: any time.
    """

    schedules: Sequence[Schedule]
    again_ms: int | None = None


class Source(Protocol):
    """A kind of schedules, as stored in Redis.

    Attributes:
        name: the name of its chore.
        scope: the leadership that it needs.
        prefixes: prefixes of the keys whose changes wake the chore.
        foreign: its jobs' bytes are written by others, so hooks can't change them.
    """

    name: str
    scope: Literal["own", "shared"]
    prefixes: Sequence[str]
    foreign: bool

    async def look(self, leader: Leader) -> Look:
        """Read the schedules, and give Redis' time to the clock."""

    def firing(self, schedule: Schedule, what: Plan, jobs: Sequence[DueJob], now_ms: int) -> Firing:
        """The jobs, what the script compares, and what it writes besides.

        Args:
            jobs: for the times of the plan, without those that a hook forbids.
        """


class ScheduleChore:
    """Enqueues the jobs of one source's schedules.

    Args:
        emit: the scheduler's. Events: `error`.
        longest_s: maximum seconds between checks.
    """

    def __init__(
        self, store: Store, source: Source, hooks: EnqueueHooks, emit: Emit, longest_s: float
    ) -> None:
        self.name: str = source.name
        self.scope: Literal["own", "shared"] = source.scope
        self.prefixes: Sequence[str] = source.prefixes
        self._store = store
        self._source = source
        self._hooks = hooks
        self._emit = emit
        self._longest_ms = int(longest_s * 1000)

    async def run(self, leadership: Leader) -> float:
        """Enqueue what is due; returns the seconds until something is due again."""
        look = await self._source.look(leadership)
        now_ms = leadership.clock.now_ms()
        due, waiting = [], [look.again_ms]
        for each in look.schedules:
            if each.is_due(now_ms):
                due.append(self._settle(leadership, each))
            else:
                waiting.append(each.next_ms)
        times_ms = [ms for ms in (*waiting, *await asyncio.gather(*due)) if ms is not None]
        wait_ms = min(times_ms, default=LATEST_MS) - leadership.clock.now_ms()
        return max(min(wait_ms, self._longest_ms), 0) / 1000

    async def _settle(self, leader: Leader, schedule: Schedule) -> int | None:
        """Fire what is due of one schedule; returns when (ms) something is due again."""
        now_ms = leader.clock.now_ms()
        queue, name = schedule.queue, schedule.class_name
        what = plan(schedule, now_ms)
        jobs = await self._allowed(schedule, what.fires)
        firing = self._source.firing(schedule, what, jobs, now_ms)
        guards = [self._hooks.guards(queue, name, job.args) for job in jobs]
        firing = firing._replace(
            queue=queue, guards=guards, history=self._history(schedule, what, jobs, now_ms)
        )
        try:
            done = await fire(self._store, leader, firing)
        except StoreError as error:  # e.g. its queue is not a list: the other schedules continue
            self._emit("error", error)
            return now_ms + _AFTER_ERROR_MS
        if done == CHANGED:
            return now_ms + _AFTER_CHANGE_MS
        for job in jobs[:done]:
            await self._hooks.enqueued(queue, name, job.args, job.at_ms)
        return what.next_ms

    def _history(
        self, schedule: Schedule, what: Plan, jobs: Sequence[DueJob], now_ms: int
    ) -> History | None:
        if not what.fires:
            return None
        planned = dict.fromkeys(each.at_ms for each in jobs)
        forbidden = [each for each in what.fires if each not in planned]
        key = self._store.keys.fires(schedule.kind, schedule.name)
        return History(key, now_ms, [*planned], forbidden)

    async def _allowed(self, schedule: Schedule, fires: Sequence[int]) -> list[DueJob]:
        """The jobs, as the hooks leave them, without those that a hook forbids."""
        jobs: list[DueJob] = []
        for at_ms in fires:
            args = await self._hooks.allowed(
                schedule.queue, schedule.class_name, schedule.declared.arguments,
                fixed=self._source.foreign,
            )  # fmt: skip
            if args is not None:
                jobs.append(DueJob(at_ms, args))
        return jobs
