"""Ruby's `persistent_schedules`, run by us while we hold Ruby's lock: for resque-scheduler's sake,
which does the same while it leads, so that either can take the other's place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from resqpy.base.errors import StoreError, UsageError
from resqpy.base.ruby_schedule import RubySchedule, ruby_time
from resqpy.engine import ruby_plan
from resqpy.engine.election import Leadership, Scope
from resqpy.engine.pushing import Pushing
from resqpy.engine.queue import Queue
from resqpy.engine.ruby_entries import RubySchedules
from resqpy.engine.ruby_plan import Note
from resqpy.engine.scheduler_options import SchedulerOptions
from resqpy.store import ruby_schedule as store
from resqpy.store.ruby_schedule import CHANGED, ENQUEUED, RubyFire, SeenRuby, only_ruby_s

_RETRY_MS = 100


_REMEDY = (
    "write them where all see them (persist: true, or set_schedule), or leave them to a Ruby scheduler: "
    "scheduler.ruby_leads"
)


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
        self._told: set[str] = set()

    async def run(self, leadership: Leadership) -> float:
        """Enqueue what is due; seconds until something is."""
        seen = await store.take(self._store, leadership)
        leadership.clock.note(seen.time_us)
        self._tell_unknown(seen)
        wait_ms = int(self._longest_s * 1000)
        for schedule in self._schedules.runnable(seen).values():
            wait_ms = min(wait_ms, await self._settle(leadership, schedule, seen))
        return max(wait_ms, 0) / 1000

    def _tell_unknown(self, seen: SeenRuby) -> None:
        """Say once which schedules rest while we lead, because only a Ruby process knows them."""
        names = [each for each in seen.only_ruby_s if each not in self._told]
        if names:
            self._told.update(names)
            self._emit(
                "error", UsageError(f"{only_ruby_s(names)} while this scheduler leads; {_REMEDY}")
            )

    async def _settle(self, leadership: Leadership, schedule: RubySchedule, seen: SeenRuby) -> int:
        """Fire a schedule if it is due; milliseconds until it is."""
        name, now_ms = schedule.name, leadership.clock.now_ms()
        old = seen.notes.get(name, "")
        note = Note.read(old)
        due_ms = ruby_plan.due_ms(schedule, note, seen.last.get(name), now_ms)
        missed = ruby_plan.is_missed(schedule, due_ms, now_ms)
        next_ms = ruby_plan.following_ms(schedule, due_ms, now_ms) if due_ms <= now_ms else due_ms
        known = note is not None and note.digest == schedule.digest
        new = Note(
            schedule.digest,
            next_ms,
            "" if note is None else note.last,
            note.fired if note is not None and known else 0,
        )
        step = RubyFire(name, seen.entries[name], old, str(new))
        if due_ms <= now_ms and not missed and name not in seen.paused:
            fired_at = ruby_time(now_ms)
            new = ruby_plan.after_fire(schedule, new, fired_at)
            step = replace(step, fired_at=fired_at, new_note=str(new))
            done = await self._fire(leadership, schedule, step, due_ms)
        else:
            done = note == new or await store.fire(self._store, leadership, step) != CHANGED
        return new.next_ms - now_ms if done else _RETRY_MS

    async def _fire(
        self, leadership: Leadership, schedule: RubySchedule, step: RubyFire, due_ms: int
    ) -> bool:
        """Enqueue its job, and note when it fires next; whether that was done."""
        queue, name = self._schedules.queue_of(schedule), schedule.class_name
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
