"""What `resqpy schedule` shows: all that runs by itself, when it ran last and when it does next, and
all fires between two dates. And what it does: pause, resume, trigger.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from resqpy.base import periodic
from resqpy.base.cron import CronSchedule, Mark
from resqpy.base.errors import UnknownTask, UsageError
from resqpy.base.foreign_time import moment_of
from resqpy.base.imports import near_match
from resqpy.base.periodic import Periodic, to_datetime, to_ms
from resqpy.base.ruby_schedule import RubySchedule
from resqpy.engine import ruby_plan
from resqpy.engine.announcing import INACTIVE_AFTER_MS
from resqpy.engine.cron_chore import read_note
from resqpy.engine.cron_plan import next_ms
from resqpy.engine.periodic import RecurrentJobs
from resqpy.engine.queue import Queue
from resqpy.engine.ruby_entries import RubySchedules
from resqpy.engine.ruby_plan import Note
from resqpy.engine.ruby_schedules import RubyScheduleVerbs
from resqpy.engine.scheduler_options import SchedulerOptions
from resqpy.store import periodic as store
from resqpy.store import ruby_schedule as ruby_store
from resqpy.store.periodic import Seen
from resqpy.store.ruby_schedule import SeenRuby

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
            at, step = to_datetime(first_ms), timedelta(milliseconds=step_ms)
            while at < end:
                if at >= start:
                    yield ScheduledFire(at, entry.name, entry.kind, at, at.replace(tzinfo=None))
                at += step


class ScheduleView:
    """Looks, and changes what runs by itself.

    Args:
        queue: a `Queue` with the tasks of this process, if it has any; no scheduler is needed.
        options: for Ruby's time zone and environment, as the scheduler has them.
    """

    def __init__(self, queue: Queue, options: SchedulerOptions | None = None) -> None:
        self._store = queue.store
        self._tasks = RecurrentJobs(queue)
        self._ruby = RubyScheduleVerbs(queue)
        self._options = options or SchedulerOptions()
        self._reader = RubySchedules(queue.definitions, self._options, lambda _: None)

    async def load(self) -> Timetable:
        """Everything, sorted by name. Two round trips."""
        seen = await store.look(self._store)
        ruby = await ruby_store.look(self._store)
        now_ms = seen.time_us // 1000
        names = {**self._tasks.tasks, **dict.fromkeys(seen.tasks)}
        entries = [self._task_entry(name, seen, now_ms) for name in names]
        entries += [self._ruby_entry(name, ruby, now_ms) for name in ruby.entries]
        entries.sort(key=lambda entry: (entry.name, entry.kind))
        return Timetable(to_datetime(now_ms), tuple(entries))

    # -- tasks --

    def _task_entry(self, name: str, seen: Seen, now_ms: int) -> ScheduleEntry:
        try:
            raw = seen.tasks.get(name)
            task = self._tasks.tasks[name] if raw is None else periodic.decode(raw)
        except UsageError as error:
            return ScheduleEntry(name, "cron", "", name, None, "invalid", problem=str(error))
        state = self._state(name, task, seen, now_ms)
        last_ms, due_ms = seen.last.get(name), _due_ms(name, task, seen, now_ms)
        due_ms = due_ms if state in ("waiting", "under way") else None
        return ScheduleEntry(
            name=name,
            kind="frequency" if task.cron is None else "cron",
            timing=_timing(task),
            class_name=name,
            queue=task.queue,
            state=state,
            last=None if last_ms is None else to_datetime(last_ms),
            next=None if due_ms is None else to_datetime(due_ms),
            times=_times(name, task, seen, now_ms),
        )

    def _state(self, name: str, task: Periodic, seen: Seen, now_ms: int) -> State:
        if name in seen.stopped:
            return "failed" if seen.stopped[name] == "failed" else "stopped"
        if name in seen.paused:
            return "paused"
        known = name in self._tasks.tasks
        if not known and now_ms - seen.announced.get(name, 0) > INACTIVE_AFTER_MS:
            return "inactive"
        return "under way" if task.cron is None and name in seen.out else "waiting"

    # -- Ruby's --

    def _ruby_entry(self, name: str, seen: SeenRuby, now_ms: int) -> ScheduleEntry:
        try:
            schedule = self._reader.checked(name, seen.entries[name])
        except UsageError as error:
            return ScheduleEntry(name, "ruby", "", "", None, "invalid", problem=str(error))
        state: State = "waiting"
        if not schedule.runs_in(self._options.ruby_env):
            state = "inactive"
        elif name in seen.paused:
            state = "paused"
        last = seen.last.get(name)
        due_ms = ruby_plan.due_ms(schedule, Note.read(seen.notes.get(name)), last, now_ms)
        last_ms = moment_of(last)
        return ScheduleEntry(
            name=name,
            kind="ruby",
            timing=schedule.timing,
            class_name=schedule.class_name,
            queue=self._reader.queue_of(schedule),
            state=state,
            last=None if last_ms is None else to_datetime(last_ms),
            next=to_datetime(due_ms)
            if state == "waiting" and due_ms < ruby_plan.NEVER_MS
            else None,
            times=_ruby_times(schedule, due_ms),
        )

    # -- pause, resume, trigger --

    async def pause(self, name: str) -> bool:
        """Let a task, or else a schedule of Ruby's, rest; False if it does."""
        return await (await self._verbs(name)).pause(name)

    async def resume(self, name: str) -> bool:
        """Let it run again; False if it was not paused."""
        return await (await self._verbs(name)).resume(name)

    async def trigger(self, name: str) -> bool:
        """Enqueue it now, whatever its times; False if its one job is under way, or a plugin
        forbids it.
        """
        return await (await self._verbs(name)).trigger(name)

    async def _verbs(self, name: str) -> RecurrentJobs | RubyScheduleVerbs:
        tasks = {*self._tasks.tasks, *(await store.look(self._store)).tasks}
        if name in tasks:
            return self._tasks
        schedules = await self._ruby.schedules()
        if name in schedules:
            return self._ruby
        names = sorted({*tasks, *schedules})
        raise UnknownTask(
            f"nothing that runs by itself is named {name!r}{near_match(name, names)} "
            f"(there are: {', '.join(names) or 'none'})"
        )


def _timing(task: Periodic) -> str:
    if task.cron is None:
        return f"every {(task.frequency_ms or 0) / 1000:g} s"
    zone = task.cron.zone_name
    said = task.cron.expression.endswith(zone)
    return task.cron.expression if said else f"{task.cron.expression} {zone}"


def _due_ms(name: str, task: Periodic, seen: Seen, now_ms: int) -> int | None:
    if task.cron is None:
        return seen.due.get(name)
    settled_ms = read_note(seen.cron.get(name), task).ms or now_ms
    return next_ms(task.cron, max(settled_ms, now_ms))


def _times(name: str, task: Periodic, seen: Seen, now_ms: int) -> CronSchedule | Grid:
    if task.cron is not None:
        return task.cron
    step_ms = task.frequency_ms or 1
    after_this = seen.out[name] + step_ms if name in seen.out else now_ms
    return Grid(seen.due.get(name, after_this), step_ms)


def _ruby_times(schedule: RubySchedule, due_ms: int) -> CronSchedule | Grid:
    if schedule.every is not None:
        return Grid(due_ms, schedule.every.period_ms)
    assert schedule.cron is not None
    return schedule.cron
