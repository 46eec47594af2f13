"""Cron expressions: what they mean and when they fire; the only user of croniter.

Called by the scheduler and by `resqpy schedule`. Pure: it never asks what time it is.

The format is that of crontab(5), plus the additions of rufus-scheduler 3.8 (fugit 1.5), minus what is
ambiguous: see docs/reference/cron.md. Croniter only expands the fields, because its dates are inexact
around daylight saving changes. There we follow Debian's cron(8):

- A *wildcard* job (the minute or the hour field begins with `*`) fires at every instant whose local time
  its fields name: not in an hour that is skipped, twice in an hour that is repeated.
- A *fixed-time* job (any other, regardless of its seconds) fires once at the first instant after a gap, if
  one or more of its times were skipped. In a repeated hour it fires the first time only.
- Changes of three hours and more are corrections: every job follows the new local time at once.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from resqpy.base.cron.fields import (
    DAY_S,
    Days,
    Fields,
    Refused,
    Stretch,
    Weekday,
    ceil_s,
    find_zone,
    floor_s,
    parse_fields,
    stretches_from,
    stretches_until,
)
from resqpy.base.errors import UsageError
from resqpy.base.when import EPOCH

if TYPE_CHECKING:
    from collections.abc import Iterator

Mark = Literal["normal", "skipped", "doubled"]

CORRECTION_S = 3 * 3600  # a larger clock change is a correction: Debian's cron(8)

_NAIVE_EPOCH = EPOCH.replace(tzinfo=None)
# In croniter's order: minute, hour, day of the month, month, weekday, second.
_BOUNDS = (range(60), range(24), range(1, 32), range(1, 13), range(7), range(60))


class InvalidCron(UsageError):
    """A cron expression is invalid."""


class Fire(NamedTuple):
    """A time at which a schedule fires, or would have fired: `omitted` lists those."""

    at: datetime  # the instant, UTC
    named: datetime  # the local time that the expression names, without zone; it may not exist
    mark: Mark  # `skipped`: that local time doesn't exist; `doubled`: it comes twice
    zone: tzinfo
    runs: bool = True

    @property
    def local(self) -> datetime:
        """The instant in local time."""
        return self.at.astimezone(self.zone)

    @property
    def note(self) -> str:
        """A remark for people; empty for ordinary times."""
        return _NOTES[self.mark, self.runs]


_NOTES: dict[tuple[Mark, bool], str] = {
    ("normal", True): "",
    ("skipped", True): "skipped local time, runs right after the gap",
    ("skipped", False): "skipped local time, does not run",
    ("doubled", True): "repeated local time, runs",
    ("doubled", False): "repeated local time, runs the first time only",
}


@dataclass(frozen=True)
class CronSchedule:
    """A cron expression in a time zone. Make it with `parse`."""

    expression: str
    zone: tzinfo
    fixed_time: bool = field(compare=False)  # neither minute nor hour begins with `*`
    days: Days = field(compare=False, repr=False)
    times: array[int] = field(compare=False, repr=False)  # seconds of the day, ascending

    @classmethod
    def parse(cls, expression: str, timezone: str | tzinfo | None = None) -> CronSchedule:
        """Parse an expression of five fields, six with seconds first, or a macro.

        Args:
            expression: may end in a zone (`0 9 * * * Europe/Berlin`), which takes precedence.
            timezone: the zone of an expression that names none; UTC if not given.

        Raises:
            InvalidCron: what is wrong and what to write instead.
        """
        try:
            fields = parse_fields(expression)
            zone = find_zone(fields.zone or timezone)
        except Refused as error:
            raise InvalidCron(f"cron expression {expression!r}: {error}") from None
        times, days = _expand(fields)
        if not days.ever():
            raise InvalidCron(
                f"cron expression {expression!r}: it never fires; there is no such day"
            )
        wildcard = fields.minute.startswith("*") or fields.hour.startswith("*")
        return cls(expression.strip(), zone, not wildcard, days, times)

    @property
    def zone_name(self) -> str:
        """The zone's name in the tz database, or its fixed offset."""
        return getattr(self.zone, "key", None) or str(self.zone)

    def next_after(self, moment: datetime) -> datetime | None:
        """The first fire after an aware moment; None only at the end of the calendar."""
        fire = next(self._from(floor_s(_aware(moment)) + 1), None)
        return fire and fire.at

    def previous_before(self, moment: datetime) -> datetime | None:
        """The last fire before an aware moment; None only at the start of the calendar."""
        until = ceil_s(_aware(moment))
        for stretch in stretches_until(self.zone, until):
            second = self._last_in(stretch, until)
            if second is not None:
                return EPOCH + timedelta(seconds=second)
        return None

    def between(self, start: datetime, end: datetime) -> Iterator[Fire]:
        """All fires with `start <= at < end` in order."""
        last = _aware(end)
        for fire in self._from(ceil_s(_aware(start))):
            if fire.at >= last:
                return
            yield fire

    def omitted(self, start: datetime, end: datetime) -> Iterator[Fire]:
        """The local times within `start <= at < end` that don't fire because the clocks change.

        A skipped one is placed at the instant of the change, a repeated one at its second occurrence.
        """
        since, until = ceil_s(_aware(start)), ceil_s(_aware(end))
        for stretch in stretches_from(self.zone, since):
            if stretch.start >= until:
                return
            fires = (self._fire(*left_out) for left_out in self._left_out(stretch))
            yield from (fire._replace(runs=False) for fire in fires if start <= fire.at < end)

    def _from(self, since: int) -> Iterator[Fire]:
        for stretch in stretches_from(self.zone, since):
            makeup = self._makeup(stretch)
            if makeup is not None and stretch.start >= since:
                yield self._fire(stretch.start, makeup, "skipped")
            low = max(self._first_local(stretch), since + stretch.offset)
            yield from self._ordinary(stretch, low)

    def _ordinary(self, stretch: Stretch, low: int) -> Iterator[Fire]:
        """The fires of a stretch from local second `low` on."""
        begin, end, offset, before, after = stretch
        single, no_longer = begin + before, end + after  # no local time in between is repeated
        zone, epoch = self.zone, EPOCH - timedelta(seconds=offset)
        for local in self._locals(low, end + offset):
            since = timedelta(0, local)
            mark: Mark = "normal" if single <= local < no_longer else "doubled"
            yield Fire(epoch + since, _NAIVE_EPOCH + since, mark, zone)

    def _last_in(self, stretch: Stretch, until: int) -> int | None:
        """The last fire of a stretch before the second `until`."""
        low, high = self._first_local(stretch), min(stretch.end, until) + stretch.offset
        local = next(self._locals_backwards(low, high), None)
        if local is not None:
            return local - stretch.offset
        return None if self._makeup(stretch) is None else stretch.start

    def _makeup(self, stretch: Stretch) -> int | None:
        """The first local time of a fixed-time job that the gap before a stretch skipped."""
        if not (self.fixed_time and 0 < stretch.offset - stretch.before < CORRECTION_S):
            return None
        start = stretch.start
        return next(self._locals(start + stretch.before, start + stretch.offset), None)

    def _first_local(self, stretch: Stretch) -> int:
        """The first local second of a stretch that fires as its own time."""
        start, jump = stretch.start + stretch.offset, stretch.offset - stretch.before
        if self.fixed_time and -CORRECTION_S < jump < 0:
            return start - jump  # these already ran before the clocks were set back
        stands_for_it = self._makeup(stretch) is not None
        return start + 1 if stands_for_it else start

    def _left_out(self, stretch: Stretch) -> Iterator[tuple[int, int, Mark]]:
        """(second, local second, mark) of what doesn't fire because of the change before a stretch."""
        start, offset = stretch.start, stretch.offset
        makeup, first = self._makeup(stretch), self._first_local(stretch)
        for local in self._locals(start + stretch.before, start + offset):
            if local != makeup:
                yield start, local, "skipped"
        for local in self._locals(start + offset, min(first, start + stretch.before)):
            yield local - offset, local, "doubled"

    def _locals(self, low: int, high: int) -> Iterator[int]:
        """The named local seconds within `low <= second < high` in order."""
        if low >= high:
            return
        first, second = divmod(low, DAY_S)
        for day in self.days.between(first, (high - 1) // DAY_S):
            midnight = day * DAY_S
            since = bisect_left(self.times, second) if day == first else 0
            for time in self.times[since:]:
                if midnight + time >= high:
                    return
                yield midnight + time

    def _locals_backwards(self, low: int, high: int) -> Iterator[int]:
        if low >= high:
            return
        last, second = divmod(high, DAY_S)
        for day in self.days.between_backwards(low // DAY_S, last):
            midnight = day * DAY_S
            until = bisect_left(self.times, second) if day == last else len(self.times)
            for time in reversed(self.times[:until]):
                if midnight + time < low:
                    return
                yield midnight + time

    def _fire(self, second: int, local: int, mark: Mark) -> Fire:
        named = _NAIVE_EPOCH + timedelta(seconds=local)
        return Fire(EPOCH + timedelta(seconds=second), named, mark, self.zone)


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise UsageError(
            f"{moment!r} has no time zone; use datetime.now(timezone.utc) or moment.astimezone()"
        )
    return moment.astimezone(UTC)


def _expand(fields: Fields) -> tuple[array[int], Days]:
    """The seconds of the day and the days named by plain fields."""
    from croniter import croniter  # noqa: PLC0415 - few who import this meet an expression

    text = " ".join(part or "*" for part in fields[:6])
    expanded, _ = croniter.expand(text, second_at_beginning=True)
    minutes, hours, monthdays, months, weekdays, seconds = (
        tuple(all_of_it if "*" in values else (int(value) for value in values))
        for values, all_of_it in zip(expanded, _BOUNDS, strict=True)
    )
    by_date = (*fields.from_end, *(monthdays if fields.monthday else ()))
    by_week = (*fields.special, *(Weekday(day) for day in weekdays if fields.weekday))
    days = Days(
        months,
        None if fields.any_monthday else by_date,
        None if fields.any_weekday else by_week,
    )
    return _times(seconds, minutes, hours), days


@lru_cache(maxsize=64)
def _times(
    seconds: tuple[int, ...], minutes: tuple[int, ...], hours: tuple[int, ...]
) -> array[int]:
    """Seconds of the day, shared between schedules: one that fires every second has 86,400."""
    return array("i", [h * 3600 + m * 60 + s for h in hours for m in minutes for s in seconds])
