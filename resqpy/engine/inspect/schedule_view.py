"""The data of `resqpy schedule`: everything that runs by itself, when it ran last and runs next. And its
actions: pause, resume, trigger.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from resqpy.base import codec, periodic
from resqpy.base.cron import ruby
from resqpy.base.cron.ruby import InvalidSchedule, RubySchedule
from resqpy.base.errors import UnknownTask, UsageError
from resqpy.base.foreign_time import moment_of
from resqpy.base.imports import listed, near_match
from resqpy.base.periodic import to_datetime
from resqpy.engine.options import LeaderOptions
from resqpy.engine.queue.periodic import RecurrentJobs
from resqpy.engine.queue.queue import Queue
from resqpy.engine.scheduler.schedule_chores import ruby_source, task_queues
from resqpy.schedules.ruby import queue_of
from resqpy.schedules.schedule import Schedule, Timetable, Unreadable
from resqpy.schedules.tasks import Announcer, task_schedule
from resqpy.store import periodic as store, queues, ruby_schedule as ruby_store
from resqpy.store.periodic import Fired, Seen
from resqpy.store.queues import Push
from resqpy.store.ruby_schedule import SeenRuby

# The verbs for Ruby's schedules: list, write, remove, pause, trigger.


class RubyScheduleVerbs:
    """resque-scheduler's `set_schedule` and others, for schedules shared with Ruby's clients.

    Args:
        queue: a `Queue`; provides the queue of a task where a schedule names none.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._store = queue.store

    async def schedules(self) -> dict[str, Any]:
        """All schedules, as written; None if unreadable."""
        seen = await ruby_store.look(self._store)
        return {name: codec.decode_lenient(raw) for name, raw in seen.entries.items()}

    async def seen(self) -> SeenRuby:
        """All of them, in the exact text of each; and which are paused."""
        return await ruby_store.look(self._store)

    async def replace(self, name: str, old: bytes, new: bytes) -> bool:
        """Write or remove a schedule if it is still what it was; False: somebody has changed it.

        Args:
            old: its text; empty: there is none.
            new: from `ruby.encode`; empty: remove it.
        """
        return await ruby_store.replace(self._store, name, old, new)

    async def set_schedule(self, name: str, config: Mapping[str, Any]) -> None:
        """Write a schedule, as Ruby's `set_schedule` with `persist: true` does.

        Args:
            config: `cron` or `every`, `class` (default: the name), `queue`, `args`, `description`,
                `rails_env` and any other keys, which are kept.

        Raises:
            InvalidSchedule: it would crash Ruby's schedulers; nothing was written.
        """
        await ruby_store.put(self._store, name, ruby.encode(name, config))

    async def import_schedules(
        self, configs: Mapping[str, Mapping[str, Any]], *, dry_run: bool = False
    ) -> dict[str, str]:
        """Write several schedules: all are right, or nothing is written.

        Args:
            configs: by name, as for `set_schedule`.
            dry_run: only say what would be done.

        Returns:
            By name what became of each: `new`, `changed`, or `same`.

        Raises:
            InvalidSchedule: all that is wrong.
        """
        wanted, wrong = dict[str, bytes](), list[str]()
        for name, config in configs.items():
            try:
                wanted[name] = ruby.encode(name, config)
            except UsageError as error:
                wrong.append(str(error))
        if wrong:
            raise InvalidSchedule("; ".join(wrong))
        known, done = (await ruby_store.look(self._store)).entries, dict[str, str]()
        for name, raw in wanted.items():
            old = known.get(name)
            same = old is not None and codec.decode_lenient(old) == codec.decode_lenient(raw)
            done[name] = "same" if same else "new" if old is None else "changed"
            if not (same or dry_run):
                await ruby_store.put(self._store, name, raw)
        return done

    async def remove_schedule(self, name: str) -> bool:
        """Remove a schedule; False if there is none of that name."""
        return await ruby_store.remove(self._store, name)

    async def pause(self, name: str) -> bool:
        """Pause a schedule while one of our schedulers runs it; Ruby's ignore that."""
        await self._schedule(name)
        return await ruby_store.pause(self._store, name, paused=True)

    async def resume(self, name: str) -> bool:
        """Resume a paused schedule; False if it was not paused."""
        return await ruby_store.pause(self._store, name, paused=False)

    async def trigger(self, name: str) -> bool:
        """Enqueue the job of a schedule now; False if a plugin of ours forbids it."""
        schedule = await self._schedule(name)
        try:
            queue = queue_of(schedule, task_queues(self._queue))
        except UsageError as error:
            raise UsageError(f"schedule {name!r}: {error}") from error
        guards = self._queue.guards(queue, schedule.class_name, schedule.arguments)
        return (await queues.push(self._store, [Push(queue, schedule.job, guards)]))[0] is None

    async def _schedule(self, name: str) -> RubySchedule:
        entries = (await ruby_store.look(self._store)).entries
        if name not in entries:
            raise UsageError(
                f"there is no schedule {name!r}{near_match(name, entries)} "
                f"(schedules: {listed(entries)})"
            )
        return ruby.parse(name, entries[name])


class ScheduleView:
    """Shows and changes what runs by itself.

    Args:
        queue: a `Queue` with the tasks of this process, if any; no scheduler is needed.
        options: Ruby's time zone and environment, as configured for the scheduler.
    """

    def __init__(self, queue: Queue, options: LeaderOptions | None = None) -> None:
        self._store = queue.store
        self._tasks = RecurrentJobs(queue)
        self._announcer = Announcer(queue.store, self._tasks.tasks, lambda _: None)
        self._ruby = RubyScheduleVerbs(queue)
        self._source = ruby_source(queue, options or LeaderOptions(), lambda _: None)

    async def load(self) -> Timetable:
        """Everything, sorted by name. Two round trips."""
        seen = await store.look(self._store)
        ruby = await ruby_store.look(self._store)
        now_ms = seen.time_us // 1000
        entries = [*self._tasks_of(seen, now_ms), *self._ruby_of(ruby, now_ms)]
        entries.sort(key=lambda entry: (entry.name, entry.kind))
        return Timetable(to_datetime(now_ms), tuple(entries))

    def _tasks_of(self, seen: Seen, now_ms: int) -> Iterator[Schedule]:
        for name in {**self._tasks.tasks, **dict.fromkeys(seen.tasks)}:
            try:
                raw = seen.tasks.get(name)
                task = self._tasks.tasks[name] if raw is None else periodic.decode(raw)
            except UsageError as error:
                yield Schedule(name, "cron", class_name=name, problem=str(error))
            else:
                active = self._announcer.is_active(name, seen, now_ms)
                found = task_schedule(name, task, seen, now_ms, active=active)
                if found.kind == "cron" and found.is_due(now_ms):
                    found = found._replace(next_ms=found.times.next_after(now_ms))
                yield found

    def _ruby_of(self, seen: SeenRuby, now_ms: int) -> Iterator[Schedule]:
        for name, raw in seen.entries.items():
            try:
                found = self._source.read(name, raw)
            except UsageError as error:
                yield Schedule(name, "ruby", problem=str(error))
            else:
                yield self._source.schedule(found, seen, now_ms)
        for name in seen.only_ruby_s:
            problem = "only a Ruby process knows it, or it was removed: it does not run while resqpy leads"
            yield Schedule(
                name,
                "ruby",
                "inactive",
                declared=Unreadable("?"),
                last_ms=moment_of(seen.last[name]),
                problem=problem,
            )

    async def import_schedules(
        self, configs: Mapping[str, Mapping[str, Any]], *, dry_run: bool = False
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Write several schedules of Ruby's, see `RubyScheduleVerbs`.

        Returns:
            By name what became of each; and why no scheduler with these tasks runs one.

        Raises:
            InvalidSchedule: all that is wrong.
        """
        done, found = await self._ruby.import_schedules(configs, dry_run=dry_run), dict[str, str]()
        for name, config in configs.items():
            try:
                self._source.read(name, ruby.encode(name, config))
            except UsageError as error:
                found[name] = str(error)
        return done, found

    async def history(self, name: str) -> list[Fired]:
        """The last fires of a task or schedule, up to 200 of the last 30 days, the first of them first."""
        kind = "ruby" if await self._verbs(name) is self._ruby else "task"
        return await store.history(self._store, self._store.keys.fires(kind, name))

    # -- pause, resume, trigger --

    async def pause(self, name: str) -> bool:
        """Pause a task, or else a Ruby schedule; False if it was paused already."""
        return await (await self._verbs(name)).pause(name)

    async def resume(self, name: str) -> bool:
        """Resume it, including a task that was stopped or whose chain ended with a failed run; False if it
        was running already.
        """
        verbs = await self._verbs(name)
        resumed = await verbs.resume(name)
        if verbs is not self._tasks or name not in (await store.look(self._store)).stopped:
            return resumed
        return await self._tasks.enqueue_recurrent_job(name) or resumed

    async def trigger(self, name: str) -> bool:
        """Enqueue it now, regardless of its times; False if its one job is under way, or a plugin forbids it."""
        return await (await self._verbs(name)).trigger(name)

    async def _verbs(self, name: str) -> RecurrentJobs | RubyScheduleVerbs:
        tasks = {*self._tasks.tasks, *(await store.look(self._store)).tasks}
        if name in tasks:
            return self._tasks
        schedules = await self._ruby.schedules()
        if name in schedules:
            return self._ruby
        names = {*tasks, *schedules}
        raise UnknownTask(
            f"no periodic task or schedule is named {name!r}{near_match(name, names)} "
            f"(there are: {listed(names)})"
        )
