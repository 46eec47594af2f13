"""Common cron expressions in words, for people who do not read them every day."""

from __future__ import annotations

import re
from collections.abc import Sequence

from resqpy.base.cron.fields import parse_fields

_DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
    "November", "December",
)  # fmt: skip
_MOST = 4  # times or dates; more say no more than the expression


def cron_words(expression: str) -> str:
    """What a common expression means, in its own time zone; "": it is no common one, or can't be read."""
    try:
        found = parse_fields(expression)
    except ValueError:
        return ""
    if found.second != "0" or found.monthday is None or found.weekday is None or found.special:
        return ""
    times = _times(found.minute, found.hour)
    days = None if found.from_end else _dates(found.monthday, found.month, found.weekday)
    if times is None or days is None:
        return ""
    if not days:
        return f"every day {times}" if times.startswith("at ") else times
    return f"{times}, {days}"


def _times(minute: str, hour: str) -> str | None:
    minutes, hours, every = _numbers(minute), _numbers(hour), _step(minute, 60)
    if hour == "*":
        if every is not None:
            return _every(every, "minute")
        if not minutes or len(minutes) > _MOST:
            return None
        past = [f":{each:02}" for each in minutes]
        return "every hour" if minutes == [0] else f"every hour at {_and(past)}"
    if hours and minutes:
        at = [f"{each:02}:{of:02}" for each in hours for of in minutes]
        return f"at {_and(at)}" if len(at) <= _MOST else None
    if len(minutes) == 1 and (step := _step(hour, 24)) is not None:
        return _every(step, "hour") + (f" at :{minutes[0]:02}" if minutes[0] else "")
    if stretch := re.fullmatch(r"(\d+)-(\d+)", hour):
        first, last = map(int, stretch.groups())
        if len(minutes) == 1:
            return f"every hour from {first:02}:{minutes[0]:02} to {last:02}:{minutes[0]:02}"
        if every is not None:
            return f"{_every(every, 'minute')} from {first:02}:00 to {last:02}:{60 - every:02}"
    return None


def _dates(monthday: str, month: str, weekday: str) -> str | None:
    days, months, weekdays = _numbers(monthday), _numbers(month), _numbers(weekday)
    if monthday == "*" and month == "*":
        if weekday == "*":
            return ""
        if stretch := re.fullmatch(r"(\d)-(\d)", weekday):
            first, last = map(int, stretch.groups())
            return f"{_DAYS[first % 7]} to {_DAYS[last % 7]}"
        return f"on {_and([_DAYS[each % 7] for each in weekdays])}" if weekdays else None
    if weekday != "*" or not days or len(days) > _MOST:
        return None
    if month == "*":
        return f"on day{'s' if len(days) > 1 else ''} {_and([*map(str, days)])} of each month"
    dates = [f"{each} {_MONTHS[of - 1]}" for of in months for each in days]
    return f"on {_and(dates)}" if dates and len(dates) <= _MOST else None


def _numbers(text: str) -> list[int]:
    return [*map(int, text.split(","))] if re.fullmatch(r"\d+(,\d+)*", text) else []


def _step(text: str, whole: int) -> int | None:
    """Of `*/5` 5, if the steps are all of one length."""
    if text == "*":
        return 1
    found = re.fullmatch(r"\*/(\d+)", text)
    step = int(found[1]) if found else 0
    return step if step and whole % step == 0 else None


def _every(number: int, unit: str) -> str:
    return f"every {unit}" if number == 1 else f"every {number} {unit}s"


def _and(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))
