"""Parses the text of a cron expression; for `base/cron` only.

The result is read the same way by every version of croniter, by rufus-scheduler 3.8 (fugit 1.5) and by
people. Where these disagree the text is rejected. The formats: docs/reference/cron.md.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import MAXYEAR, UTC, date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, NoReturn
from zoneinfo import ZoneInfo, available_timezones

from resqpy.base.imports import near_match
from resqpy.base.when import EPOCH

if TYPE_CHECKING:
    from collections.abc import Iterator


# Time zones as stretches of one UTC offset, in whole seconds since 1970; used by `base/cron` only.
#
# The zoneinfo module does not say when an offset changes, so it is asked for each day, and the exact second
# is found by bisection. No zone of the tz database changes its offset and back within a day.

EPOCH_ORDINAL = EPOCH.toordinal()
DAY_S = 86_400
ONE_SECOND = timedelta(seconds=1)
FIRST_YEAR, LAST_YEAR = 2, MAXYEAR - 1  # local times of these years still fit a datetime


class Stretch(NamedTuple):
    """A period with one UTC offset; also cut at the ends of UTC years, where the offset does not change."""

    start: int  # the first second of it, UTC
    end: int  # the first second after it, UTC
    offset: int  # seconds to add to UTC for local time
    before: int  # the offset just before `start`
    after: int  # the offset from `end` onwards


def floor_s(moment: datetime) -> int:
    """The whole second that contains an aware moment."""
    return (moment - EPOCH) // ONE_SECOND


def ceil_s(moment: datetime) -> int:
    """The first whole second that is not before an aware moment."""
    return -((EPOCH - moment) // ONE_SECOND)


def stretches_from(zone: tzinfo, second: int) -> Iterator[Stretch]:
    """The stretch that contains a second and all later ones, to the end of the calendar."""
    for year in range(max(_year(second), FIRST_YEAR), LAST_YEAR + 1):
        yield from (stretch for stretch in stretches(zone, year) if stretch.end > second)


def stretches_until(zone: tzinfo, second: int) -> Iterator[Stretch]:
    """The stretch of the last second before `second`, then the earlier ones, newest first."""
    for year in range(min(_year(second), LAST_YEAR), FIRST_YEAR - 1, -1):
        yield from (s for s in reversed(stretches(zone, year)) if s.start < second)


@lru_cache(maxsize=4096)
def stretches(zone: tzinfo, year: int) -> tuple[Stretch, ...]:
    """The stretches of one UTC year in order."""
    first, last = _january(year), _january(year + 1)
    edges = [first, *_changes(zone, first, last), last]
    offsets = [_offset(zone, edge) for edge in edges]
    offsets.insert(0, _offset(zone, first - 1))
    return tuple(
        Stretch(edges[i], edges[i + 1], offsets[i + 1], offsets[i], offsets[i + 2])
        for i in range(len(edges) - 1)
    )


def _changes(zone: tzinfo, first: int, last: int) -> Iterator[int]:
    """Each second within `first < second < last` at which the offset changes."""
    if isinstance(zone, timezone):
        return
    known = first
    for asked in (*range(first + DAY_S, last, DAY_S), last - 1):
        while _offset(zone, known) != _offset(zone, asked):
            known = _next_change(zone, known, asked)
            yield known
        known = asked


def _next_change(zone: tzinfo, low: int, high: int) -> int:
    offset = _offset(zone, low)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _offset(zone, middle) == offset else (low, middle)
    return high


def _offset(zone: tzinfo, second: int) -> int:
    local = (EPOCH + timedelta(seconds=second)).astimezone(zone)
    return (local.replace(tzinfo=UTC) - EPOCH) // ONE_SECOND - second


def _year(second: int) -> int:
    return (EPOCH + timedelta(seconds=second)).year


def _january(year: int) -> int:
    return (datetime(year, 1, 1, tzinfo=UTC) - EPOCH) // ONE_SECOND


# Which days a cron expression names: month, day of the month, weekday; used by `base/cron` only.
#
# Days are counted from 1970-01-01, so they compare with local seconds divided by 86,400.

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


MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@noon": "0 12 * * *",
    "@hourly": "0 * * * *",
}


class Refused(ValueError):
    """What is wrong with an expression; `base/cron` adds the expression itself."""


class Fields(NamedTuple):
    """A parsed expression; the texts hold only `*`, numbers, ranges and steps."""

    second: str
    minute: str
    hour: str
    monthday: str | None  # None: any day, or only those of `from_end`
    month: str
    weekday: str | None  # None: any day, or only those of `special`
    from_end: tuple[int, ...]  # days of the month counted from its end; -1 is the last
    special: tuple[Weekday, ...]  # `fri#1`, `fri%2`
    any_monthday: bool
    any_weekday: bool
    zone: str | None


class _Kind(NamedTuple):
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()  # of `low` and the numbers after it
    also: int | None = None  # another number for `low`: 24 o'clock, weekday 7


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_SECOND, _MINUTE = _Kind("second", 0, 59), _Kind("minute", 0, 59)
_HOUR = _Kind("hour", 0, 23, also=24)
_MONTHDAY = _Kind("day of the month", 1, 31)
_MONTH = _Kind("month", 1, 12, _MONTHS)
_WEEKDAY = _Kind("weekday", 0, 6, _DAYS, also=7)

_RANGE = re.compile(r"(\*|\w+)?(?:-(\w+))?(?:/(\w+))?", re.ASCII)
_STEP = re.compile(r"0?[1-9]|[1-9]\d", re.ASCII)
_FROM_END = re.compile(r"-(\d\d?)(?:-(?:-(\d\d?)|l|last))?", re.ASCII)  # -1, -3--1, -3-l
_TO_LAST = re.compile(r"(\d\d?)-(?:l|last)", re.ASCII)
_NTH = re.compile(r"(\w+)#(-?[1-5]|l|last)", re.ASCII)
_WEEKS = re.compile(r"(\w+)%([1-9]\d{0,3})(?:\+(\d{1,4}))?", re.ASCII)
_ZONE_NAME = re.compile(r"[A-Z][\w+-]+(/[A-Z][\w+-]+){0,2}", re.ASCII)
_OFFSET = re.compile(r"([+-])([01]\d|2[0-3]):?([0-5]\d)", re.ASCII)


def parse_fields(expression: str) -> Fields:
    """Parse an expression.

    Raises:
        Refused: what is wrong and what to write instead.
    """
    texts, zone = _split(expression)
    second, minute, hour, monthday, month, weekday = texts
    from_end, monthdays = _monthdays(monthday.split(","))
    special, weekdays = _weekdays(weekday.split(","))
    return Fields(
        _list(_SECOND, second),
        _list(_MINUTE, minute),
        _list(_HOUR, hour),
        monthdays,
        _list(_MONTH, month),
        weekdays,
        from_end,
        special,
        any_monthday=monthdays is not None and "*" in monthdays.split(","),
        any_weekday=weekdays == "*",
        zone=zone,
    )


@lru_cache(maxsize=1024)
def find_zone(zone: str | tzinfo | None) -> tzinfo:
    """The time zone with a tz database name or an offset such as `+02:00`; UTC for None."""
    if zone is None or isinstance(zone, tzinfo):
        return zone or UTC
    if not isinstance(zone, str):
        refuse(f"time zone {zone!r} is not text")
    offset = _OFFSET.fullmatch(zone)
    if offset:
        size = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
        return timezone(size if offset[1] == "+" else -size)
    try:
        return ZoneInfo(zone if _ZONE_NAME.fullmatch(zone) else "")
    except (KeyError, ValueError, OSError):  # OSError: a directory such as "Europe"
        hint = near_match(zone, available_timezones(), 0.8)
        refuse(
            f"time zone {zone!r} is unknown{hint or '; write one such as Europe/Berlin or +02:00'}"
        )


def refuse(why: str) -> NoReturn:
    """Raise `Refused`."""
    raise Refused(why)


def _split(expression: str) -> tuple[list[str], str | None]:
    """Six fields and the zone, if the expression names one."""
    if not isinstance(expression, str):
        refuse("it is not text")
    texts = re.split(r"[ \t]+", expand_macro(expression.strip()))
    zone = texts.pop() if _is_zone(texts[-1]) else None
    if len(texts) not in (5, 6):
        refuse(
            f"it has {len(texts)} fields; write five (minute hour day month weekday), "
            "or six with the seconds first, or a macro such as @daily"
        )
    return ["0"] * (6 - len(texts)) + [text.lower() for text in texts], zone


def expand_macro(text: str) -> str:
    """The fields that a macro stands for; other texts as they are."""
    if not text.startswith("@"):
        return text
    if text not in MACROS:
        refuse(f"{text!r} is not a known macro ({', '.join(MACROS)})")
    return MACROS[text]


def _is_zone(text: str) -> bool:
    is_weekday = text.lower()[:3] in _WEEKDAY.names
    return bool(_OFFSET.fullmatch(text)) or bool(_ZONE_NAME.fullmatch(text) and not is_weekday)


def _monthdays(parts: list[str]) -> tuple[tuple[int, ...], str | None]:
    """Days counted from the end, and the others as text."""
    from_end = {number for part in parts for number in _days_from_end(part)}
    plain = [_plain(_MONTHDAY, _to_number(part)) for part in parts if not _days_from_end(part)]
    return tuple(sorted(from_end)), ",".join(plain) or None


def _to_number(part: str) -> str:
    """`25-l` becomes `25-31`; days that a month doesn't have are harmless."""
    match = _TO_LAST.fullmatch(part)
    return f"{match[1]}-31" if match else part


def _days_from_end(part: str) -> list[int]:
    """`l` and `-1` are the last day, `-3--1` the last three; empty if it is of another form."""
    if part in ("l", "last"):
        return [-1]
    match = _FROM_END.fullmatch(part)
    if not match:
        return []
    first = int(match[1])
    last = int(match[2] or 1) if "-" in part[1:] else first
    if not 31 >= first >= last >= 1:
        refuse(f"day of the month {part!r} must be within -31 to -1, in ascending order")
    return [-number for number in range(last, first + 1)]


def _weekdays(parts: list[str]) -> tuple[tuple[Weekday, ...], str | None]:
    """Special weekdays, and the others as text."""
    special = {part: found for part in parts if (found := _special_weekday(part))}
    plain = [_plain_weekday(part, len(parts)) for part in parts if part not in special]
    return tuple(special.values()), ",".join(plain) or None


def _special_weekday(part: str) -> Weekday | None:
    nth, weeks = _NTH.fullmatch(part), _WEEKS.fullmatch(part)
    if nth:
        return Weekday(_number(_WEEKDAY, nth[1]) % 7, nth=-1 if nth[2][0] == "l" else int(nth[2]))
    if weeks:
        return Weekday(
            _number(_WEEKDAY, weeks[1]) % 7, every=int(weeks[2]), plus=int(weeks[3] or 0)
        )
    return None


def _plain_weekday(part: str, parts: int) -> str:
    if re.fullmatch(r"\*?/0?1", part, re.ASCII) or (part == "*" and parts > 1):
        refuse(
            f"weekday {part!r}: cron implementations disagree about it; write * alone, or the days"
        )
    if re.fullmatch(r"\w+/\w+", part, re.ASCII):  # rufus reads 1/2 as 1 alone
        refuse(
            f"weekday {part!r}: cron implementations disagree about it; write a range, such as 1-5/2"
        )
    return _plain(_WEEKDAY, part)


def _list(kind: _Kind, text: str) -> str:
    return ",".join(_plain(kind, part) for part in text.split(","))


def _plain(kind: _Kind, part: str) -> str:
    match = _RANGE.fullmatch(part)
    low, high, step = match.groups() if match else (None, None, None)
    if (low is None and step is None) or (low in (None, "*") and high is not None):
        refuse(f"{kind.name} {part!r} is invalid; {_allowed(kind)}")
    if step is not None and not _STEP.fullmatch(step):
        refuse(f"{kind.name} {part!r}: a step must be a number from 1 to 99")
    if low is None or low == "*":
        return "*" if step in (None, "1", "01") else f"*/{step}"
    if high is None and step in ("1", "01"):  # rufus reads 5/1 as 5 alone, others as 5-59
        refuse(f"{kind.name} {part!r}: cron implementations disagree about it; write a range")
    first = _number(kind, low)
    last = _number(kind, high) if high is not None else kind.high if step is not None else first
    return (
        _plain_range(kind, first, last)
        if step is None
        else _stepped(kind, part, first, last, int(step))
    )


def _plain_range(kind: _Kind, first: int, last: int) -> str:
    """`first-last`, which wraps around (`fri-mon`) if last is less than first."""
    start = kind.low if first == kind.also else first
    if last in (first, start):
        return str(start)
    if last == kind.also:
        return f"{kind.low},{_plain_range(kind, start, kind.high)}"
    return f"{start}-{last}"


def _stepped(kind: _Kind, part: str, first: int, last: int, step: int) -> str:
    """Every nth number from first to last, which may wrap around."""
    if first == kind.also or (kind is _WEEKDAY and first > last):
        refuse(f"{kind.name} {part!r}: cron implementations disagree about it; list the numbers")
    if first < last <= kind.high:
        return f"{first}-{last}/{step}"
    above = range(first, min(last, kind.high) + 1 if first <= last else kind.high + 1)
    below = () if first == last else range(kind.low, 1 if last == kind.also else last + 1)
    return ",".join(str(number) for number in [*above, *below][::step])


def _number(kind: _Kind, text: str) -> int:
    if text in kind.names:
        return kind.low + kind.names.index(text)
    top = kind.high if kind.also is None else kind.also
    digits = 1 if kind is _WEEKDAY else 2
    if not re.fullmatch(rf"\d{{1,{digits}}}", text, re.ASCII) or not kind.low <= int(text) <= top:
        refuse(f"{kind.name} {text!r} is invalid; {_allowed(kind)}")
    return int(text)


def _allowed(kind: _Kind) -> str:
    names = f" or {kind.names[0]} to {kind.names[-1]}" if kind.names else ""
    return f"{kind.name} is {kind.low} to {kind.high}{names}, or *, or a list, range or step"
