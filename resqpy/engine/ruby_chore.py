"""Ruby's `persistent_schedules`, run by us while we hold Ruby's lock: for resque-scheduler's sake,
which does the same while it leads, so that either can take the other's place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from resqpy.base import ruby_schedule
from resqpy.base.errors import StoreError, UsageError
from resqpy.base.machine_zone import machine_zone
from resqpy.base.ruby_schedule import RubySchedule, ruby_time
from resqpy.engine import ruby_plan
from resqpy.engine.definition import Definitions
from resqpy.engine.election import Leadership, Scope
from resqpy.engine.pushing import Pushing
from resqpy.engine.queue import Queue
from resqpy.engine.ruby_plan import Note
from resqpy.engine.scheduler_options import SchedulerOptions
from resqpy.store import ruby_schedule as store
from resqpy.store.ruby_schedule import CHANGED, ENQUEUED, RubyFire, SeenRuby

_RETRY_MS = 100


class RubySchedules:
    """Reads the entries of all schedules, each text once.

    Args:
        definitions: have the queues of classes where an entry names none.
        options: have Ruby's time zone and environment.
        on_error: told once of each entry that can't be run.
    """

    def __init__(
        self,
        definitions: Definitions,
        options: SchedulerOptions,
        on_error: Callable[[Exception], None],
    ) -> None:
        self._definitions = definitions
        self._zone = options.ruby_timezone or machine_zone()
        self._environment = options.ruby_env
        self._on_error = on_error
        self._known: dict[str, tuple[bytes, RubySchedule | None]] = {}

    def runnable(self, seen: SeenRuby) -> dict[str, RubySchedule]:
        """Those that can be run, and are meant to be in this environment."""
        self._known = {name: known for name, known in self._known.items() if name in seen.entries}
        found = {name: self._read(name, raw) for name, raw in seen.entries.items()}
        return {
            name: each
            for name, each in found.items()
            if each is not None and each.runs_in(self._environment)
        }

    def queue_of(self, schedule: RubySchedule) -> str | None:
        """Where its jobs go."""
        if schedule.queue is not None:
            return schedule.queue
        definition = self._definitions.get(schedule.class_name)
        return None if definition is None else definition.queue

    def _read(self, name: str, raw: bytes) -> RubySchedule | None:
        known = self._known.get(name)
        if known is not None and known[0] == raw:
            return known[1]
        schedule = None
        try:
            schedule = self.checked(name, raw)
        except UsageError as error:
            self._on_error(UsageError(f"Ruby's schedule {name!r} is left out: {error}"))
        self._known[name] = (raw, schedule)
        return schedule

    def checked(self, name: str, raw: bytes) -> RubySchedule:
        """Read an entry, whatever its environment.

        Raises:
            UsageError: why it can't be run.
        """
        schedule = ruby_schedule.parse(name, raw, self._zone)
        if self.queue_of(schedule) is None:
            raise UsageError(f"it names no queue, and {schedule.class_name!r} is no task of ours")
        if schedule.every is not None and schedule.every.other:
            words = ", ".join(schedule.every.other)
            self._on_error(UsageError(f"Ruby's schedule {name!r}: not followed here: {words}"))
        return schedule


class RubyScheduleChore:
    """Enqueues the jobs of Ruby's schedules.

    Args:
        queue: has the tasks.
        emit: the scheduler's. Events: `enqueue` (ms, job), `error`.
    """

    name = "ruby_schedules"
    scope: Scope = "shared"

    def __init__(self, queue: Queue, options: SchedulerOptions, emit: Callable[..., None]) -> None:
        keys = queue.store.keys
        self.prefixes: Sequence[str] = (
            keys.persistent_schedules,
            keys.schedules_changed,
            keys.ruby_paused,
        )
        self._store = queue.store
        self._pushing = Pushing(queue, emit)
        self._emit = emit
        self._schedules = RubySchedules(
            queue.definitions, options, lambda error: emit("error", error)
        )
        self._longest_s = options.timeout_s

    async def run(self, leadership: Leadership) -> float:
        """Enqueue what is due; seconds until something is."""
        seen = await store.take(self._store, leadership)
        leadership.clock.note(seen.time_us)
        wait_ms = int(self._longest_s * 1000)
        for schedule in self._schedules.runnable(seen).values():
            wait_ms = min(wait_ms, await self._settle(leadership, schedule, seen))
        return max(wait_ms, 0) / 1000

    async def _settle(self, leadership: Leadership, schedule: RubySchedule, seen: SeenRuby) -> int:
        """Fire a schedule if it is due; milliseconds until it is."""
        name, now_ms = schedule.name, leadership.clock.now_ms()
        old = seen.notes.get(name, "")
        note = Note.read(old)
        due_ms = ruby_plan.due_ms(schedule, note, seen.last.get(name), now_ms)
        missed = ruby_plan.is_missed(schedule, due_ms, now_ms)
        next_ms = ruby_plan.following_ms(schedule, due_ms, now_ms) if due_ms <= now_ms else due_ms
        new = Note(schedule.digest, next_ms, "" if note is None else note.last)
        step = RubyFire(name, seen.entries[name], old, str(new))
        if due_ms <= now_ms and not missed and name not in seen.paused:
            fired_at = ruby_time(now_ms)
            step = replace(step, fired_at=fired_at, new_note=str(new._replace(last=fired_at)))
            done = await self._fire(leadership, schedule, step, due_ms)
        else:
            done = note == new or await store.fire(self._store, leadership, step) != CHANGED
        return next_ms - now_ms if done else _RETRY_MS

    async def _fire(
        self, leadership: Leadership, schedule: RubySchedule, step: RubyFire, due_ms: int
    ) -> bool:
        """Enqueue its job, and note when it fires next; whether that was done."""
        queue, name = self._schedules.queue_of(schedule) or "", schedule.class_name
        args = schedule.arguments
        step = replace(step, queue=queue)
        if await self._pushing.allowed(queue, name, args):
            guards = self._pushing.guards(queue, name, args)
            step = replace(step, job=schedule.job, guards=guards)
        try:
            done = await store.fire(self._store, leadership, step)
        except StoreError as error:  # its queue is no list, say: the other schedules go on
            self._emit("error", error)
            return False
        if done == ENQUEUED:
            await self._pushing.enqueued(queue, name, args, due_ms)
        return done != CHANGED
