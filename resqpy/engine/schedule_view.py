"""What `resqpy schedule` shows: all that runs by itself, when it ran last and when it does next. And
what it does: pause, resume, trigger.
"""

from __future__ import annotations

from resqpy.base import periodic
from resqpy.base.cron import CronSchedule
from resqpy.base.errors import UnknownTask, UsageError
from resqpy.base.foreign_time import moment_of
from resqpy.base.imports import near_match
from resqpy.base.periodic import Periodic, to_datetime
from resqpy.base.ruby_schedule import RubySchedule
from resqpy.engine import ruby_plan
from resqpy.engine.announcing import Announced
from resqpy.engine.cron_chore import read_note
from resqpy.engine.cron_plan import next_ms
from resqpy.engine.periodic import RecurrentJobs
from resqpy.engine.queue import Queue
from resqpy.engine.ruby_entries import RubySchedules
from resqpy.engine.ruby_plan import Note
from resqpy.engine.ruby_schedules import RubyScheduleVerbs
from resqpy.engine.scheduler_options import SchedulerOptions
from resqpy.engine.timetable import Grid, ScheduleEntry, State, Timetable
from resqpy.store import periodic as store
from resqpy.store import ruby_schedule as ruby_store
from resqpy.store.periodic import Seen
from resqpy.store.ruby_schedule import SeenRuby


class ScheduleView:
    """Looks, and changes what runs by itself.

    Args:
        queue: a `Queue` with the tasks of this process, if it has any; no scheduler is needed.
        options: for Ruby's time zone and environment, as the scheduler has them.
    """

    def __init__(self, queue: Queue, options: SchedulerOptions | None = None) -> None:
        self._store = queue.store
        self._tasks = RecurrentJobs(queue)
        self._announced = Announced(self._tasks.tasks, lambda _: None)
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
        entries += [_unknown_entry(name, ruby.last[name]) for name in ruby.only_ruby_s]
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
        if not self._announced.is_active(name, seen, now_ms):
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
        note = Note.read(seen.notes.get(name))
        problem = _over(schedule, note)
        state = "inactive" if problem else state
        last = seen.last.get(name)
        due_ms = ruby_plan.due_ms(schedule, note, last, now_ms)
        last_ms = moment_of(last)
        return ScheduleEntry(
            name=name,
            kind="ruby",
            timing=schedule.timing,
            class_name=schedule.class_name,
            queue=self._reader.queue_of(schedule),
            state=state,
            problem=problem,
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
        """Let it run again, a task also if it was stopped or a failed run has ended it; False if it was
        under way already.
        """
        verbs = await self._verbs(name)
        resumed = await verbs.resume(name)
        if verbs is not self._tasks or name not in (await store.look(self._store)).stopped:
            return resumed
        return await self._tasks.enqueue_recurrent_job(name) or resumed

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


def _over(schedule: RubySchedule, note: Note | None) -> str:
    """Why a schedule of Ruby's runs no more; an empty text: it does."""
    every = schedule.every
    if every is None or note is None or note.digest != schedule.digest:
        return ""
    if every.times is not None and note.fired >= every.times:
        return f"it has run {every.times} times, as its option says"
    if every.last_at_ms is not None and note.next_ms >= ruby_plan.NEVER_MS:
        return "its last time is over"
    return ""


def _unknown_entry(name: str, last: str) -> ScheduleEntry:
    """A schedule of Ruby's of which only its last run is in Redis."""
    last_ms = moment_of(last)
    return ScheduleEntry(
        name=name,
        kind="ruby",
        timing="?",
        class_name="",
        queue=None,
        state="inactive",
        last=None if last_ms is None else to_datetime(last_ms),
        problem="only a Ruby process knows it, or it was removed: it does not run while resqpy leads",
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
