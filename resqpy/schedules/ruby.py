"""The source for Ruby's `persistent_schedules`. We run them while we hold Ruby's lock, because
resque-scheduler then does not; so either can replace the other.

As in Ruby: a missed cron time is skipped (except one that a dead leader missed by less than half a minute);
an `every` begins after `first_in`, or after one period. Better than in Ruby: an `every` keeps its times
across a restart and a change of leader, and one that was due meanwhile fires once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from resqpy.base.cron import ruby
from resqpy.base.cron.ruby import Every, RubySchedule, ruby_time
from resqpy.base.errors import UsageError
from resqpy.base.foreign_time import LATEST_MS, moment_of
from resqpy.schedules.schedule import (
    LATEST,
    ON_TIME_MS,
    CronTimes,
    Grid,
    Leader,
    Look,
    MissedRule,
    Plan,
    Schedule,
    State,
    Times,
)
from resqpy.schedules.tasks import ReadOnce
from resqpy.store import ruby_schedule as store
from resqpy.store.connection.client import Store
from resqpy.store.periodic import DueJob, Firing
from resqpy.store.ruby_schedule import SeenRuby, only_ruby_s

NEVER_MS = LATEST_MS
_REMEDY = (
    "write them where all processes see them (persist: true, or set_schedule), or leave "
    "them to a Ruby scheduler: scheduler.ruby_leads"
)

QueueOf = Callable[[str], str | None]


def queue_of(schedule: RubySchedule, queue_of_task: QueueOf) -> str:
    """Where the jobs of a schedule go.

    Args:
        queue_of_task: the queue of one of our tasks; None: there is no such task, or it has no queue.

    Raises:
        UsageError: it names no queue, and its class is not one of our tasks with a queue.
    """
    queue = schedule.queue or queue_of_task(schedule.class_name)
    if queue is None:
        raise UsageError(f"it names no queue, and {schedule.class_name!r} is not a task of ours")
    return queue


class RubySource:
    """Reads the entries of all schedules, each text once.

    Args:
        queue_of_task: the queue of a class, for entries that name none.
        zone: of cron expressions that name none; None: this machine's.
        environment: RAILS_ENV: selects among entries that name an environment.
        on_error: called once for each entry that can't be run.
    """

    name: str = "ruby_schedules"
    scope: Literal["own", "shared"] = "shared"
    foreign: bool = True

    def __init__(
        self,
        redis: Store,
        queue_of_task: QueueOf,
        zone: str | None,
        environment: str | None,
        on_error: Callable[[Exception], None],
    ) -> None:
        keys = redis.keys
        self.prefixes: Sequence[str] = (
            keys.persistent_schedules,
            keys.schedules_changed,
            keys.ruby_paused,
        )
        self._store = redis
        self._queue_of_task = queue_of_task
        self._zone = zone or machine_zone()
        self._environment = environment
        self._on_error = on_error
        self._reader = ReadOnce(self.read, self._left_out)
        self._told: set[str] = set()

    async def look(self, leader: Leader) -> Look:
        """Those that can be run and are meant for this environment."""
        seen = await store.take(self._store, leader)
        leader.clock.note(seen.time_us)
        self._tell_unknown(seen)
        now_ms = leader.clock.now_ms()
        found = self._reader.all(seen.entries)
        schedules = (self.schedule(each, seen, now_ms) for each in found.values())
        return Look([each for each in schedules if each.state != "inactive"])

    def _tell_unknown(self, seen: SeenRuby) -> None:
        """Report once which schedules don't run while we lead, because only a Ruby process knows them."""
        names = [each for each in seen.only_ruby_s if each not in self._told]
        if names:
            self._told.update(names)
            self._on_error(
                UsageError(f"{only_ruby_s(names)} while this scheduler leads; {_REMEDY}")
            )

    def read(self, name: str, raw: bytes) -> RubySchedule:
        """Parse an entry, whatever its environment.

        Raises:
            UsageError: why it can't be run.
        """
        schedule = ruby.parse(name, raw, self._zone)
        queue_of(schedule, self._queue_of_task)
        if schedule.other:
            words = ", ".join(schedule.other)
            self._on_error(UsageError(f"Ruby's schedule {name!r}: not supported here: {words}"))
        return schedule

    def _left_out(self, name: str, error: UsageError) -> None:
        self._on_error(UsageError(f"Ruby's schedule {name!r} is skipped: {error}"))

    def schedule(self, entry: RubySchedule, seen: SeenRuby, now_ms: int) -> Schedule:
        """The schedule of a parsed entry."""
        text, last = seen.notes.get(entry.name, ""), seen.last.get(entry.name)
        note = Note.read(text)
        due_ms = _due_ms(entry, note, last, now_ms)
        problem = _over(entry, note)
        state: State = "paused" if entry.name in seen.paused else "waiting"
        if problem or not entry.runs_in(self._environment):
            state = "inactive"
        return Schedule(
            name=entry.name,
            kind="ruby",
            declared=entry,
            class_name=entry.class_name,
            queue=queue_of(entry, self._queue_of_task),
            times=_times(entry, due_ms),
            missed=MissedRule("skip") if entry.every is None else LATEST,
            state=state,
            note=text,
            next_ms=due_ms if due_ms < NEVER_MS else None,
            last_ms=moment_of(last),
            is_new=note != _noted(entry, note, due_ms),
            problem=problem,
        )

    def firing(self, schedule: Schedule, what: Plan, jobs: Sequence[DueJob], now_ms: int) -> Firing:
        """When it fires next; and that it has fired, even if a hook forbids its job."""
        entry, old = schedule.declared, schedule.note
        assert isinstance(entry, RubySchedule)
        next_ms = NEVER_MS if what.next_ms is None else what.next_ms
        new, fired_at = _noted(entry, Note.read(old), next_ms), None
        if what.fires:
            fired_at = ruby_time(now_ms)
            new = _after_fire(entry, new, fired_at)
        raws = [entry.job for _ in jobs]
        return store.ruby_firing(self._store.keys, entry, raws, old, str(new), fired_at)


class Note(NamedTuple):
    """Our note of a schedule: `<digest> <ms> <text>`; if it has a number of times, `<digest>*<number> <ms>
    <text>`.

    Attributes:
        digest: of the entry it belongs to.
        next_ms: when it fires next.
        last: what we wrote to `last_enqueued_at`; a different text there is from a Ruby scheduler.
        fired: how often it has fired, if that matters.
    """

    digest: str
    next_ms: int
    last: str
    fired: int = 0

    def __str__(self) -> str:
        count = f"*{self.fired}" if self.fired else ""
        return f"{self.digest}{count} {self.next_ms} {self.last}"

    @classmethod
    def read(cls, text: str) -> Note | None:
        """Parse a note; None if it is missing or malformed."""
        head, _, rest = text.partition(" ")
        ms, _, last = rest.partition(" ")
        digest, _, count = head.partition("*")
        if not (_is_number(ms) and (_is_number(count) or not count)):
            return None
        return cls(digest, int(ms), last, int(count or 0))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 18


def _noted(entry: RubySchedule, note: Note | None, next_ms: int) -> Note:
    """The note of a schedule that fires next at a time."""
    if note is None:
        return Note(entry.digest, next_ms, "")
    fired = note.fired if note.digest == entry.digest else 0
    return Note(entry.digest, next_ms, note.last, fired)


def _after_fire(entry: RubySchedule, note: Note, fired_at: str) -> Note:
    """The note of a schedule that fires now."""
    times = entry.every.times if entry.every is not None else None
    if times is None:
        return note._replace(last=fired_at)
    fired = note.fired + 1
    next_ms = note.next_ms if fired < times else NEVER_MS
    return note._replace(last=fired_at, fired=fired, next_ms=next_ms)


def _over(entry: RubySchedule, note: Note | None) -> str:
    """Why a schedule has ended; an empty text: it has not."""
    every = entry.every
    if every is None or note is None or note.digest != entry.digest:
        return ""
    if every.times is not None and note.fired >= every.times:
        return f"it has run {every.times} times, the number in its option"
    if every.last_at_ms is not None and note.next_ms >= NEVER_MS:
        return "its last time has passed"
    return ""


# -- when it fires --


def _times(entry: RubySchedule, from_ms: int) -> Times:
    """The times from a given one on."""
    if entry.every is not None:
        return Grid(from_ms, entry.every.period_ms, entry.every.last_at_ms)
    assert entry.cron is not None
    return CronTimes(entry.cron)


def _due_ms(entry: RubySchedule, note: Note | None, last: str | None, now_ms: int) -> int:
    """When a schedule fires next, which may be in the past.

    Args:
        last: the value in `last_enqueued_at`.
    """
    last_ms = moment_of(last)
    if note is not None and note.digest == entry.digest:
        if last_ms is None or last == note.last or last_ms < note.next_ms // 1000 * 1000:
            return note.next_ms
        # a Ruby scheduler led meanwhile and fired it
        since_ms = last_ms if entry.every is not None else max(last_ms, now_ms - ON_TIME_MS)
        return _after(entry, last_ms, since_ms)
    changed = note is not None
    return _first(entry, None if changed else last_ms, now_ms)


def _after(entry: RubySchedule, from_ms: int, ms: int) -> int:
    found = _times(entry, from_ms).next_after(ms)
    return NEVER_MS if found is None else found


def _first(entry: RubySchedule, last_ms: int | None, now_ms: int) -> int:
    """When it fires first with us; we may have taken over from a Ruby scheduler."""
    every = entry.every
    if every is None:
        known = last_ms is not None and last_ms <= now_ms
        since_ms = max(last_ms or 0, now_ms - ON_TIME_MS) if known else now_ms
        return _after(entry, now_ms, since_ms)
    at_ms = _first_of_every(every, last_ms, now_ms)
    return NEVER_MS if every.last_at_ms is not None and at_ms > every.last_at_ms else at_ms


def _first_of_every(every: Every, last_ms: int | None, now_ms: int) -> int:
    if every.first_at_ms is not None:
        return Grid(every.first_at_ms, every.period_ms).next_after(now_ms) or NEVER_MS
    if last_ms is not None and last_ms <= now_ms < last_ms + every.period_ms:
        return last_ms + every.period_ms
    return now_ms + (every.period_ms if every.first_in_ms is None else every.first_in_ms)


# -- the time zone that a Ruby process on this machine would use --

LOCALTIME = Path("/etc/localtime")
_FOLDER = "zoneinfo/"


def machine_zone(localtime: Path = LOCALTIME) -> str:
    """A tz database name: from `TZ`, else from the target of the link `localtime`; else UTC."""
    for text in (os.environ.get("TZ", ""), _target(localtime)):
        name = text.removeprefix(":").rpartition(_FOLDER)[2]
        if _is_zone(name):
            return name
    return "UTC"


def _target(link: Path) -> str:
    try:
        return str(link.resolve(strict=True)) if link.is_symlink() else ""
    except OSError:
        return ""


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return bool(name)
