"""When a schedule of Ruby's fires next: pure rules, no Redis.

As in Ruby: a cron time that was missed is left out (but one that a dead leader missed by less than half
a minute is made up for); an `every` begins after `first_in`, or after a period. Better than in Ruby: an
`every` keeps its times over a restart and a change of the leader, and one that was due meanwhile
fires, once.
"""

from __future__ import annotations

from typing import NamedTuple

from resqpy.base.cron import CronSchedule
from resqpy.base.foreign_time import LATEST_MS, moment_of, noted_ms
from resqpy.base.periodic import next_on_grid
from resqpy.base.ruby_schedule import RubySchedule
from resqpy.base.rufus import Every
from resqpy.engine.cron_plan import ON_TIME_MS, next_ms

NEVER_MS = LATEST_MS


class Note(NamedTuple):
    """What we know of a schedule: `<digest> <ms> <text>`.

    Attributes:
        digest: of the entry to which it belongs.
        next_ms: when it fires next.
        last: what we have written to `last_enqueued_at`; another text there is a Ruby scheduler's.
    """

    digest: str
    next_ms: int
    last: str

    def __str__(self) -> str:
        return f"{self.digest} {self.next_ms} {self.last}"

    @classmethod
    def read(cls, text: str | None) -> Note | None:
        """Read a note; None where there is none that can be read."""
        digest, _, rest = (text or "").partition(" ")
        ms, _, last = rest.partition(" ")
        next_ms = noted_ms(ms)
        return None if next_ms is None else cls(digest, next_ms, last)


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
        return last_ms + schedule.every.period_ms
    assert schedule.cron is not None
    return _next_ms(schedule.cron, max(last_ms, now_ms - ON_TIME_MS))


def _first(schedule: RubySchedule, last_ms: int | None, now_ms: int) -> int:
    """When it fires first with us, who may have taken over from a Ruby scheduler."""
    if schedule.cron is not None:
        known = last_ms is not None and last_ms <= now_ms
        since_ms = max(last_ms or 0, now_ms - ON_TIME_MS) if known else now_ms
        return _next_ms(schedule.cron, since_ms)
    every = schedule.every
    assert every is not None
    return _first_of_every(every, last_ms, now_ms)


def _first_of_every(every: Every, last_ms: int | None, now_ms: int) -> int:
    if last_ms is not None and last_ms <= now_ms < last_ms + every.period_ms:
        return last_ms + every.period_ms
    return now_ms + (every.period_ms if every.first_in_ms is None else every.first_in_ms)


def is_missed(schedule: RubySchedule, at_ms: int, now_ms: int) -> bool:
    """Whether a time is left out because nobody led."""
    return schedule.cron is not None and now_ms - at_ms > ON_TIME_MS


def following_ms(schedule: RubySchedule, at_ms: int, now_ms: int) -> int:
    """When it fires after a time that is over."""
    if schedule.every is not None:
        return next_on_grid(at_ms, schedule.every.period_ms, now_ms)
    assert schedule.cron is not None
    return _next_ms(schedule.cron, max(at_ms, now_ms - ON_TIME_MS))


def _next_ms(cron: CronSchedule, after_ms: int) -> int:
    found = next_ms(cron, after_ms)
    return NEVER_MS if found is None else found
