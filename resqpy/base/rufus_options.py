"""The options of rufus-scheduler that say when an `every` begins and when it ends.

What can't be followed to the letter is refused: half understood, a schedule would run for ever, or at
other times than in Ruby.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from resqpy.base.foreign_time import moment_of

FIRST = (
    "first",
    "first_time",
    "first_at",
    "first_in",
)  # in the order in which rufus looks for them
LAST = ("last", "last_at", "last_in")
BOUNDS = frozenset({*FIRST, *LAST, "times"})


@dataclass(frozen=True, slots=True)
class Bounds:
    """When a schedule begins and ends; None: nothing is said.

    Attributes:
        first_in_ms: until the first run, from when the schedule is seen first.
        first_at_ms: when the first run is; the others follow at their distance.
        last_at_ms: after this it runs no more.
        times: it runs so often.
    """

    first_in_ms: int | None = None
    first_at_ms: int | None = None
    last_at_ms: int | None = None
    times: int | None = None


def bounds(
    options: Mapping[str, object], duration_ms: Callable[[object], int], zone: str | None
) -> Bounds:
    """What options say of the beginning and the end.

    Args:
        duration_ms: reads an interval.
        zone: of times that name none.

    Raises:
        ValueError: what can't be followed.
    """
    in_ms, at_ms = _first(options, duration_ms, zone)
    return Bounds(in_ms, at_ms, _last(options, zone), _times(options.get("times")))


def _first(
    options: Mapping[str, object], duration_ms: Callable[[object], int], zone: str | None
) -> tuple[int | None, int | None]:
    name = next((each for each in FIRST if options.get(each) is not None), None)
    value = options.get(name) if name is not None else None
    if value is None:
        return None, None
    if value in (0, "now", "immediately"):
        return 0, None
    at_ms = _moment(value, zone)
    return (duration_ms(value), None) if at_ms is None else (None, at_ms)


def _last(options: Mapping[str, object], zone: str | None) -> int | None:
    name = next((each for each in LAST if options.get(each) is not None), None)
    if name is None:
        return None
    at_ms = _moment(options[name], zone)
    if at_ms is None:
        raise ValueError(
            f"option {name} is {options[name]!r}, but is to be a time such as 2030-01-31T12:00:00Z: a "
            "duration counts from the start of a Ruby process, which is not known here"
        )
    return at_ms


def _times(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"option times is {value!r}, but is to be a whole number from 1 on")
    return value


def _moment(value: object, zone: str | None) -> int | None:
    """Milliseconds since the epoch of a time with its date; None where it is none."""
    if not isinstance(value, str) or not value[:4].isdigit() or value[4:5] not in ("-", "/"):
        return None
    text, found = value.strip(), _zone(zone)
    head, _, last = text.rpartition(" ")
    if head and last[:1].isalpha() and (named := _zone(last)) is not None:
        text, found = head, named
    try:
        moment = datetime.fromisoformat(text.replace("/", "-"))
    except ValueError:
        return moment_of(value)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=found) if found is not None else moment.astimezone()
    return int(moment.timestamp() * 1000)


def _zone(name: str | None) -> tzinfo | None:
    try:
        return None if name is None else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
