"""Parses the text of a cron expression; for `base/cron` only.

The result is read the same way by every version of croniter, by rufus-scheduler 3.8 (fugit 1.5) and by
people. Where these disagree the text is rejected. The formats: docs/reference/cron.md.
"""

from __future__ import annotations

import re
from datetime import UTC, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import NamedTuple, NoReturn
from zoneinfo import ZoneInfo

from resqpy.base.cron.days import Weekday

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
    offset = _OFFSET.fullmatch(zone)
    if offset:
        size = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
        return timezone(size if offset[1] == "+" else -size)
    try:
        return ZoneInfo(zone if _ZONE_NAME.fullmatch(zone) else "")
    except (KeyError, ValueError, OSError):  # OSError: a directory such as "Europe"
        refuse(f"time zone {zone!r} is unknown; write one such as Europe/Berlin or +02:00")


def refuse(why: str) -> NoReturn:
    """Raise `Refused`."""
    raise Refused(why)


def _split(expression: str) -> tuple[list[str], str | None]:
    """Six fields and the zone, if the expression names one."""
    if not isinstance(expression, str):
        refuse("it is not text")
    texts = re.split(r"[ \t]+", _expand_macro(expression.strip()))
    zone = texts.pop() if _is_zone(texts[-1]) else None
    if len(texts) not in (5, 6):
        refuse(
            f"it has {len(texts)} fields; write five (minute hour day month weekday), "
            "or six with the seconds first, or a macro such as @daily"
        )
    return ["0"] * (6 - len(texts)) + [text.lower() for text in texts], zone


def _expand_macro(text: str) -> str:
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
