"""When a schedule of Ruby's fires next: pure rules, no Redis.

As in Ruby: a cron time that was missed is left out (but one that a dead leader missed by less than half
a minute is made up for); an `every` begins after `first_in`, or after a period. Better than in Ruby: an
`every` keeps its times over a restart and a change of the leader, and one that was due meanwhile
fires, once.
"""

from __future__ import annotations

from typing import NamedTuple

from resqpy.base.cron import CronSchedule
from resqpy.base.foreign_time import LATEST_MS, moment_of
from resqpy.base.periodic import next_on_grid
from resqpy.base.ruby_schedule import RubySchedule
from resqpy.base.rufus import Every
from resqpy.engine.cron_plan import ON_TIME_MS, next_ms

NEVER_MS = LATEST_MS


class Note(NamedTuple):
    """What we know of a schedule: `<digest> <ms> <text>`; of one that runs a number of times
    `<digest>*<number> <ms> <text>`.

    Attributes:
        digest: of the entry to which it belongs.
        next_ms: when it fires next.
        last: what we have written to `last_enqueued_at`; another text there is a Ruby scheduler's.
        fired: how often it has, where that counts.
    """

    digest: str
    next_ms: int
    last: str
    fired: int = 0

    def __str__(self) -> str:
        count = f"*{self.fired}" if self.fired else ""
        return f"{self.digest}{count} {self.next_ms} {self.last}"

    @classmethod
    def read(cls, text: str | None) -> Note | None:
        """Read a note; None where there is none that can be read."""
        head, _, rest = (text or "").partition(" ")
        ms, _, last = rest.partition(" ")
        digest, _, count = head.partition("*")
        if not (_is_number(ms) and (_is_number(count) or not count)):
            return None
        return cls(digest, int(ms), last, int(count or 0))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 18


def due_ms(schedule: RubySchedule, note: Note | None, last: str | None, now_ms: int) -> int:
    """When a schedule fires next, which may be over.

    Args:
        last: what stands in `last_enqueued_at`.
    """
    last_ms = moment_of(last)
    if note is not None and note.digest == schedule.digest:
        if last_ms is None or last == note.last or last_ms < note.next_ms // 1000 * 1000:
            return note.next_ms
        return _after(schedule, last_ms, now_ms)  # a Ruby scheduler led meanwhile, and fired it
    changed = note is not None
    return _first(schedule, None if changed else last_ms, now_ms)


def _after(schedule: RubySchedule, last_ms: int, now_ms: int) -> int:
    if schedule.every is not None:
        return _within(schedule.every, last_ms + schedule.every.period_ms)
    assert schedule.cron is not None
    return _next_ms(schedule.cron, max(last_ms, now_ms - ON_TIME_MS))


def _within(every: Every, at_ms: int) -> int:
    """A time, if the schedule does not end before."""
    return NEVER_MS if every.last_at_ms is not None and at_ms > every.last_at_ms else at_ms


def _first(schedule: RubySchedule, last_ms: int | None, now_ms: int) -> int:
    """When it fires first with us, who may have taken over from a Ruby scheduler."""
    if schedule.cron is not None:
        known = last_ms is not None and last_ms <= now_ms
        since_ms = max(last_ms or 0, now_ms - ON_TIME_MS) if known else now_ms
        return _next_ms(schedule.cron, since_ms)
    every = schedule.every
    assert every is not None
    return _within(every, _first_of_every(every, last_ms, now_ms))


def _first_of_every(every: Every, last_ms: int | None, now_ms: int) -> int:
    if every.first_at_ms is not None:
        past = every.first_at_ms <= now_ms
        return (
            next_on_grid(every.first_at_ms, every.period_ms, now_ms) if past else every.first_at_ms
        )
    if last_ms is not None and last_ms <= now_ms < last_ms + every.period_ms:
        return last_ms + every.period_ms
    return now_ms + (every.period_ms if every.first_in_ms is None else every.first_in_ms)


def after_fire(schedule: RubySchedule, note: Note, fired_at: str) -> Note:
    """The note of a schedule that fires now."""
    times = schedule.every.times if schedule.every is not None else None
    if times is None:
        return note._replace(last=fired_at)
    fired = note.fired + 1
    next_ms = note.next_ms if fired < times else NEVER_MS
    return note._replace(last=fired_at, fired=fired, next_ms=next_ms)


def is_missed(schedule: RubySchedule, at_ms: int, now_ms: int) -> bool:
    """Whether a time is left out because nobody led."""
    return schedule.cron is not None and now_ms - at_ms > ON_TIME_MS


def following_ms(schedule: RubySchedule, at_ms: int, now_ms: int) -> int:
    """When it fires after a time that is over."""
    if schedule.every is not None:
        return _within(schedule.every, next_on_grid(at_ms, schedule.every.period_ms, now_ms))
    assert schedule.cron is not None
    return _next_ms(schedule.cron, max(at_ms, now_ms - ON_TIME_MS))


def _next_ms(cron: CronSchedule, after_ms: int) -> int:
    found = next_ms(cron, after_ms)
    return NEVER_MS if found is None else found
