"""Which days a cron expression names: month, day of the month, weekday; used by `base/cron` only.

Days are counted from 1970-01-01, so they compare with local seconds divided by 86,400.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from resqpy.base.cron.local_time import EPOCH_ORDINAL

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST_TUESDAY = date(2019, 1, 1)  # rufus counts the weeks of `mon%2` from here
WHOLE_CYCLE = range(2000, 2400)  # after 400 years the calendar repeats, weekdays included


def day_number(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01."""
    return date(year, month, day).toordinal() - EPOCH_ORDINAL


class Weekday(NamedTuple):
    """One weekday of the fifth field: `fri`, `fri#2`, `fri#-1` or `fri%2+1`."""

    day: int  # 0 is Sunday
    nth: int = 0  # its number in the month, from the end if negative; 0 is any
    every: int = 1  # every so many weeks
    plus: int = 0


class Days(NamedTuple):
    """The three day fields. If both day of the month and weekday are restricted, either matches (crontab(5))."""

    months: tuple[int, ...]
    monthdays: tuple[int, ...] | None  # negative from the end; None is any
    weekdays: tuple[Weekday, ...] | None  # None is any

    def between(self, first: int, last: int) -> Iterator[int]:
        """The days within `first <= day <= last` in order."""
        start = date.fromordinal(first + EPOCH_ORDINAL)
        month = start.year * 12 + start.month - 1
        stop = date.fromordinal(last + EPOCH_ORDINAL)
        while month <= stop.year * 12 + stop.month - 1:
            yield from (day for day in _days(self, *divmod(month, 12)) if first <= day <= last)
            month += 1

    def between_backwards(self, first: int, last: int) -> Iterator[int]:
        """The same days, the last one first."""
        start = date.fromordinal(first + EPOCH_ORDINAL)
        stop = date.fromordinal(last + EPOCH_ORDINAL)
        month = stop.year * 12 + stop.month - 1
        while month >= start.year * 12 + start.month - 1:
            days = reversed(_days(self, *divmod(month, 12)))
            yield from (day for day in days if first <= day <= last)
            month -= 1

    def ever(self) -> bool:
        """Whether any such day exists."""
        return any(_days(self, year, month - 1) for year in WHOLE_CYCLE for month in self.months)

    def names(self, day: date, month_length: int) -> bool:
        """Whether a day of a named month matches."""
        by_date = self.monthdays is None or any(
            day.day == (number if number > 0 else month_length + 1 + number)
            for number in self.monthdays
        )
        by_week = self.weekdays is None or any(
            _falls(day, month_length, rule) for rule in self.weekdays
        )
        if self.monthdays is not None and self.weekdays is not None:
            return by_date or by_week
        return by_date and by_week


def _falls(day: date, month_length: int, rule: Weekday) -> bool:
    from_start = (day.day + 6) // 7
    from_end = -((month_length - day.day) // 7 + 1)
    week = (day - FIRST_TUESDAY).days // 7 + 1
    return (
        day.isoweekday() % 7 == rule.day
        and rule.nth in (0, from_start, from_end)
        and (week + rule.plus) % rule.every == 0
    )


@lru_cache(maxsize=16_384)
def _days(rule: Days, year: int, month0: int) -> tuple[int, ...]:
    if month0 + 1 not in rule.months:
        return ()
    length = monthrange(year, month0 + 1)[1]
    dates = (date(year, month0 + 1, number) for number in range(1, length + 1))
    return tuple(day.toordinal() - EPOCH_ORDINAL for day in dates if rule.names(day, length))
