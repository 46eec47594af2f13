"""`api.schedules`: schedules that are made, changed and removed while processes run.

They stand in resque-scheduler's keys (`persistent_schedules`): one kind for all languages, run by whoever leads.
What is written is checked as tasks are: the task and its inputs, the queue, the times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

from resqpy.base import codec
from resqpy.base.cron import ruby
from resqpy.base.cron.cron import CronSchedule
from resqpy.base.cron.fields import expand_macro, parse_fields
from resqpy.base.errors import UnknownTask, UsageError
from resqpy.base.imports import MISSPELLED, listed, near_match
from resqpy.base.json_rules import read_strict
from resqpy.base.when import Duration, duration_ms
from resqpy.engine.inspect.schedule_view import RubyScheduleVerbs, ScheduleView
from resqpy.engine.options import LeaderOptions
from resqpy.engine.queue.queue import Queue
from resqpy.framework.api.enqueuer import Enqueuer
from resqpy.framework.api.tasks_api import Args, as_args
from resqpy.framework.config.config import Config, scheduler_options
from resqpy.framework.project.registry import Registry
from resqpy.framework.tasks.handle import TaskJob
from resqpy.schedules.schedule import Timetable
from resqpy.store import periodic, queues
from resqpy.store.periodic import Fired

Entry = dict[str, Any]


class ScheduleChange(NamedTuple):
    """What became of a schedule.

    Attributes:
        before, after: its entry in `persistent_schedules`; None: there is none.
        paused: whether it was paused before; removed and added again it is not.
        lost: the text before, if no entry like it can be written again: it was no JSON, or would crash Ruby.
    """

    name: str
    before: Entry | None
    after: Entry | None
    paused: bool = False
    lost: str = ""


class SchedulesApi:
    """Schedules of resque-scheduler, and what runs by itself besides: periodic tasks.

    Args:
        registry: the tasks.
        queue: a `Queue` that knows them, for their hooks and locks.
        zone: of cron expressions that name none.
        leader: how the scheduler is configured.
    """

    def __init__(self, registry: Registry, queue: Queue, zone: str, leader: LeaderOptions) -> None:
        self._registry = registry
        self._store = queue.store
        self._zone = zone
        self._enqueuer = Enqueuer(registry, queue)
        self._verbs = RubyScheduleVerbs(queue)
        self._view = ScheduleView(queue, leader)

    @classmethod
    def of(cls, registry: Registry, queue: Queue, config: Config) -> Self:
        """As a project's config says."""
        return cls(registry, queue, config.general.timezone, scheduler_options(config))

    async def add(
        self,
        name: str,
        task: Any = None,
        inputs: Args = None,
        *,
        cron: str | None = None,
        every: Duration | None = None,
        timezone: str | None = None,
        queue: str | None = None,
        description: str | None = None,
        foreign: bool = False,
        dry_run: bool = False,
    ) -> ScheduleChange:
        """Make a schedule.

        Args:
            task: its name or definition; default: the name of the schedule.
            cron: an expression of five fields, or six with the seconds first, in `timezone` unless it names a
                zone (default: `general.timezone`).
            every: milliseconds or a timedelta from one run to the next, instead.
            queue: another than the task's own.
            foreign: the class is defined in another language: it, its queue and its arguments are taken as given.
            dry_run: only check it.

        Raises:
            UsageError: what is wrong, with the nearest name; or there is a schedule or a periodic task of that
                name. Nothing was written.
        """
        _check_texts(name=name, description=description)
        if await self.entry(name) is not None:
            raise UsageError(f"there is a schedule {name!r} already: change or remove it")
        if self._is_periodic(name):
            raise UsageError(f"{name!r} is a periodic task of this project: choose another name")
        entry = {**_times(cron, every, self._zone, timezone)}
        if not entry:
            raise UsageError(f"schedule {name!r}: give cron or every")
        entry |= await self._job(name if task is None else task, inputs, queue, foreign=foreign)
        return await self._write(name, b"", {**entry, **_described(description)}, dry_run)

    async def change(
        self,
        name: str,
        task: Any = None,
        inputs: Args = None,
        *,
        cron: str | None = None,
        every: Duration | None = None,
        timezone: str | None = None,
        queue: str | None = None,
        description: str | None = None,
        foreign: bool = False,
        dry_run: bool = False,
    ) -> ScheduleChange:
        """Change a schedule, also one of Ruby's: what is given is replaced, the rest stays, also what only Ruby
        knows. The arguments are those of `add`.

        Raises:
            UnknownTask: there is no such schedule, with the nearest name.
            UsageError: what is wrong; or somebody else has just changed it. Nothing was written.
        """
        _check_texts(description=description)
        raw, _ = await self._known(name)
        before = _read(name, raw)
        times = _times(cron, every, self._zone, timezone)
        entry = {k: v for k, v in before.items() if not (times and k in ("cron", "every"))} | times
        if task is not None or inputs is not None:
            kept = _inputs_of(entry.get("args")) if inputs is None else inputs
            wanted = entry.get("class", name) if task is None else task
            where = entry.get("queue") if queue is None and task is None else queue
            entry |= await self._job(wanted, kept, where, foreign=foreign)
        elif queue is not None:
            entry["queue"] = await self._queue(queue, foreign=foreign)
        return await self._write(name, raw, {**entry, **_described(description)}, dry_run)

    async def remove(self, name: str, *, dry_run: bool = False) -> ScheduleChange:
        """Remove a schedule; jobs that it has enqueued stay.

        Raises:
            UnknownTask: there is none of that name, with the nearest one.
            UsageError: somebody else has just changed it.
        """
        raw, before = await self._known(name)
        paused = name in (await self._verbs.seen()).paused
        if not dry_run and not await self._verbs.replace(name, raw, b""):
            raise _changed(name)
        return ScheduleChange(name, before, None, paused, _lost(name, raw))

    async def timetable(self) -> Timetable:
        """Everything that runs by itself: when it ran last, and when it runs next."""
        return await self._view.load()

    async def history(self, name: str) -> list[Fired]:
        """The last fires of a schedule or periodic task, at most 200 of the last 30 days, in order."""
        return await self._view.history(name)

    async def pause(self, name: str) -> bool:
        """Pause a schedule or periodic task; False if it was paused already. Ruby's schedulers ignore that."""
        return await self._view.pause(name)

    async def resume(self, name: str) -> bool:
        """Resume it; False if it was running."""
        return await self._view.resume(name)

    async def trigger(self, name: str) -> bool:
        """Enqueue its job now; False if a plugin forbids it, or its one job is under way."""
        return await self._view.trigger(name)

    async def entry(self, name: str) -> Entry | None:
        """A schedule as it stands in `persistent_schedules`; None: there is none."""
        return (await self._entry(name))[1]

    # -- checks --

    def _is_periodic(self, name: str) -> bool:
        return name in self._registry.tasks and self._registry.tasks[name].periodic

    async def _entry(self, name: str) -> tuple[bytes, Entry | None]:
        """Its text and its entry, which is empty if it can't be read; None: there is none."""
        raw = (await self._verbs.seen()).entries.get(name)
        found = None if raw is None else codec.decode_lenient(raw)
        return raw or b"", found if isinstance(found, dict) or raw is None else {}

    async def _known(self, name: str) -> tuple[bytes, Entry]:
        raw, entry = await self._entry(name)
        if entry is not None:
            return raw, entry
        names = (await self._verbs.seen()).entries
        if self._is_periodic(name) or name in (await periodic.look(self._store)).tasks:
            raise UsageError(
                f"{name!r} is a periodic task, which says in its code when it runs: change it there"
            )
        raise UnknownTask(
            f"there is no schedule {name!r}{near_match(name, names)} (schedules: {listed(names)})"
        )

    async def _job(self, task: Any, inputs: Args, queue: str | None, *, foreign: bool) -> Entry:
        """Class, queue and arguments of its jobs."""
        if not foreign:
            job = TaskJob(task, inputs, queue)  # type: ignore[arg-type]  # what is no mapping is refused there
            try:
                where, name, args = self._enqueuer.checked(job)
            except UnknownTask as error:
                raise UnknownTask(f"{error}; one of another language is added as foreign") from None
            return {"class": name, "queue": await self._queue(where, foreign=False), "args": args}
        if not isinstance(task, str) or not queue:
            raise UsageError(
                "of a class that another language defines, give its name and its queue"
            )
        return {"class": task, "queue": queue, "args": [] if inputs is None else as_args(inputs)}

    async def _queue(self, name: str, *, foreign: bool) -> str:
        own = {task.queue for task in self._registry}
        if foreign or name in own:
            return name
        known = own | set(await queues.names(self._store))
        if name not in known and (hint := near_match(name, known, MISSPELLED)):
            raise UsageError(f"no task uses the queue {name!r}{hint}")
        return name

    async def _write(self, name: str, old: bytes, entry: Entry, dry_run: bool) -> ScheduleChange:
        new = ruby.encode(name, entry)
        before = codec.decode_lenient(old) if old else None
        if not dry_run and not await self._verbs.replace(name, old, new):
            raise _changed(name)
        after: Entry = codec.decode_lenient(new)
        lost = _lost(name, old) if old else ""
        return ScheduleChange(name, before if isinstance(before, dict) else None, after, lost=lost)


def _read(name: str, raw: bytes) -> Entry:
    """An entry to change: what could be read only in part would be damaged."""
    try:
        found = read_strict(raw)
    except ValueError as error:
        raise UsageError(
            f"the entry of schedule {name!r} can't be read: {error}; remove it and add it again"
        ) from error
    if not isinstance(found, dict):
        raise UsageError(f"the entry of schedule {name!r} is no object; remove it and add it again")
    return found


def _lost(name: str, raw: bytes) -> str:
    try:
        ruby.encode(name, _read(name, raw))
    except UsageError:
        return raw.decode("utf-8", "backslashreplace")
    return ""


def _changed(name: str) -> UsageError:
    return UsageError(f"somebody else has just changed the schedule {name!r}: look at it again")


def _times(
    cron: str | None, every: Duration | None, zone: str, given_zone: str | None
) -> dict[str, str]:
    """When it runs, as Ruby reads it; empty: nothing was given."""
    if cron is not None and every is not None:
        raise UsageError("cron and every are both given; a schedule has only one of them")
    if given_zone is not None and cron is None:
        raise UsageError(f"timezone {given_zone!r}: it belongs to a cron; give that, too")
    if cron is not None:
        zone = zone if given_zone is None else given_zone
        text = CronSchedule.parse(cron, zone).expression
        named = parse_fields(text).zone
        if named and given_zone is not None:
            raise UsageError(
                f"cron {cron!r} names a zone, and timezone is {given_zone!r}: give one"
            )
        return {"cron": text if named else f"{expand_macro(text)} {zone}"}
    if every is None:
        return {}
    ms = duration_ms(every, "every")
    return {"every": f"{ms // 1000}s" if ms % 1000 == 0 else f"{ms / 1000}s"}


def _check_texts(**given: Any) -> None:
    for what, value in given.items():
        if not isinstance(value, str | None):
            raise UsageError(f"{what}: {value!r} is not text")
        codec.encode_value(value, what)  # raises for a lone surrogate


def _described(description: str | None) -> dict[str, str]:
    return {} if description is None else {"description": description}


def _inputs_of(args: Any) -> Args:
    """The inputs in the arguments of an entry, where they are by name."""
    if isinstance(args, Sequence) and not isinstance(args, str):
        only = args[0] if len(args) == 1 else None
        return only if isinstance(only, Mapping) else (list(args) or None)
    return None if args is None else [args]
