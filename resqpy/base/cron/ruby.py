"""Schedules of resque-scheduler: what their entries mean, and how they stand in `persistent_schedules`."""

from __future__ import annotations

import math
import re
from calendar import monthrange
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from resqpy.base import codec
from resqpy.base.clock import iso_utc
from resqpy.base.cron.cron import CronSchedule, InvalidCron
from resqpy.base.cron.fields import DAY_S, Days, day_number, parse_fields
from resqpy.base.errors import UsageError
from resqpy.base.foreign_time import moment_of
from resqpy.base.json_rules import member_text, read_strict
from resqpy.base.keys import check_queue_name

# What resque-scheduler's schedule entries mean, and which of them crash its Ruby process.
#
# Formats: rufus-scheduler 3.8.2 with fugit 1.5.2, called by resque-scheduler 4 and 5; recorded in
# ruby-07-cron-formats and ruby-07-cron-broken. One invalid entry in `persistent_schedules` ends every dynamic
# Ruby scheduler, at its start and while it runs; `why_not_rufus` is called before anything is written there.
# Used by the scheduler for Ruby's schedules.

# The options that say when an `every` begins and when it ends. Those that can't be followed exactly are
# rejected: half understood, a schedule would run forever, or at other times than in Ruby. In rufus' order of
# precedence.
FIRST = ("first", "first_time", "first_at", "first_in")
LAST = ("last", "last_at", "last_in")
BOUNDS = frozenset({*FIRST, *LAST, "times"})


@dataclass(frozen=True, slots=True)
class Bounds:
    """When a schedule begins and ends; None: not specified.

    Attributes:
        first_in_ms: delay of the first run after the schedule is first seen.
        first_at_ms: when the first run is; the others follow at the interval.
        last_at_ms: no runs after this.
        times: number of runs.
    """

    first_in_ms: int | None = None
    first_at_ms: int | None = None
    last_at_ms: int | None = None
    times: int | None = None


def bounds(
    options: Mapping[str, object], duration_ms: Callable[[object], int], zone: str | None
) -> Bounds:
    """Parse the options for the beginning and the end.

    Args:
        duration_ms: parses an interval.
        zone: of times that name none.

    Raises:
        ValueError: an option that is not supported.
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
            f"option {name} is {options[name]!r}, but must be a time such as 2030-01-31T12:00:00Z: a duration "
            "counts from the start of a Ruby process, which is not known here"
        )
    return at_ms


def _times(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"option times is {value!r}, but must be a positive whole number")
    return value


def _moment(value: object, zone: str | None) -> int | None:
    """Milliseconds since the epoch of a time with a date; None if it is none."""
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


SHORTEST_S = 0.3  # rufus-scheduler's own frequency; a shorter `every` crashes it
LONGEST_SEARCH_DAYS = 1500  # fugit gives up after 2,048 steps, most of them days
LEAP_YEAR = 2024
TUESDAY = 2  # rufus' weeks begin on Tuesday, an hour late in summer
_SEARCHED = (day_number(LEAP_YEAR, 1, 1), day_number(LEAP_YEAR + 40, 1, 1))

_UNITS_S = {
    "y": 365 * DAY_S,
    "M": 30 * DAY_S,
    "w": 7 * DAY_S,
    "d": DAY_S,
    "h": 3600,
    "m": 60,
    "s": 1,
    "number": 1,
}

_NUMBER = r"(?:\d+\.\d*|\.?\d+)"
_PART = re.compile(
    rf"(?P<number>{_NUMBER})(?: *(?:(?P<y>[yY](?i:ears?)?)|(?P<M>M|months?)|(?P<w>[wW](?i:eeks?)?)"
    r"|(?P<d>[dD](?i:ays?)?)|(?P<h>[hH](?i:ours?)?)|(?P<m>m(?:in(?:ute)?s?)?)"
    r"|(?P<s>[sS](?i:ec(?:ond)?)?[sS]?))|\Z)",
    re.ASCII,
)
_SEPARATOR = re.compile(r"(?:[ \t,]|and)*", re.IGNORECASE)  # may be empty
_ISO = re.compile(r"P((?:-?\d+[YMWD])*)(?:T((?:-?\d+[HM]|-?(?:\d*\.)?\d+S)+))?", re.ASCII)
_ISO_PART = re.compile(r"(-?(?:\d*\.)?\d+)([A-Z])", re.ASCII)
_OPTIONS = frozenset({"first_in", "times", "overlap"})


class InvalidEvery(UsageError):
    """An interval is invalid."""


class Every(NamedTuple):
    """An `every` entry: `"30s"` or `["30s", {"first_in": "5s"}]`."""

    period_ms: int
    first_in_ms: int | None = None  # until the first run; None: one period
    other: tuple[str, ...] = ()  # names of rufus options that are not supported here
    first_at_ms: int | None = None  # when the first run is
    last_at_ms: int | None = None  # no runs after this
    times: int | None = None  # number of runs


def parse_every(value: object) -> int:
    """Milliseconds of an interval as rufus writes it: `5`, `1h10m`, `15mins`, `5 minutes`, `PT5M`.

    A bare number is seconds, as in Ruby; a month is 30 days and a year is 365.

    Raises:
        InvalidEvery: it is invalid, or not longer than zero.
    """
    seconds = _seconds(value)
    if seconds is None or not math.isfinite(seconds):
        raise InvalidEvery(
            f"interval {value!r} is invalid; write one such as 30s, 5m, 1h10m, 1.5h or PT5M"
        )
    if round(seconds * 1000) <= 0:
        raise InvalidEvery(f"interval {value!r} is shorter than a millisecond; write a longer one")
    return round(seconds * 1000)


def parse_every_entry(value: object, zone: str | None = None) -> Every:
    """An `every` with or without options.

    Args:
        zone: of times in its options that name none.

    Raises:
        InvalidEvery: the interval, or an option for the beginning or the end, is invalid.
    """
    period, options = _with_options(value)
    period_ms = parse_every(period)
    try:
        found = bounds(options, parse_every, zone)
    except ValueError as error:
        raise InvalidEvery(str(error)) from error
    other = tuple(sorted(options.keys() - BOUNDS))
    return Every(
        period_ms, found.first_in_ms, other, found.first_at_ms, found.last_at_ms, found.times
    )


def parse_cron_entry(value: object, zone: str | None = None) -> CronSchedule:
    """A `cron` with or without options.

    Raises:
        InvalidCron: the expression is invalid, or an option sets a beginning or an end.
    """
    text, options = _with_options(value)
    if said := sorted(options.keys() & BOUNDS):
        raise InvalidCron(
            f"cron expression {text!r}: the options {', '.join(said)} set its beginning or "
            "end, which is not supported here"
        )
    if not isinstance(text, str):
        raise InvalidCron(f"cron expression {text!r}: it is not text")
    return CronSchedule.parse(text, zone)


def other_options(value: object) -> tuple[str, ...]:
    """Names of options of a `cron` or `every` that are not supported here."""
    _, options = _with_options(value)
    return tuple(sorted(options.keys() - BOUNDS))


def why_not_rufus(entry: object) -> str | None:
    """Why a Ruby scheduler would crash on this entry or treat it differently; None if it is safe.

    Stricter than rufus where that is simpler: a rejection costs nothing, because ours are stored elsewhere.
    """
    if not isinstance(entry, dict):
        return f"the entry must be an object, got {type(entry).__name__}"
    return next(filter(None, _objections(entry)), None)


def _objections(entry: Mapping[str, object]) -> Iterable[str | None]:
    cron, every = entry.get("cron"), entry.get("every")
    for name in ("rails_env", "env"):
        if not isinstance(entry.get(name), str | None):
            yield f"`{name}` must be text, got {entry[name]!r}"
    if cron is None and every is None:
        yield "it has neither `cron` nor `every`"
    if cron is not None:
        yield _objection_to_cron(cron)
    if every is not None:
        yield _objection_to_every(every)


# -- every ---------------------------------------------------------------------------------------


def _seconds(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    if not isinstance(value, str):
        return None
    text = value.strip(" \t\n\v\f\r")
    plain = _plain_seconds(text)
    return _iso_seconds(text.upper()) if plain is None else plain


def _plain_seconds(text: str) -> float | None:
    """`1h10m`, `1h and 10 minutes`, `2h -10m`: a sign applies up to the next blank or `and`."""
    total, position, sign = 0.0, 0, 1
    while True:
        if text[position : position + 1] in ("+", "-"):
            sign, position = (-1 if text[position] == "-" else 1), position + 1
        part = _PART.match(text, position)
        if not part:
            return None
        total += sign * float(part["number"]) * _UNITS_S[part.lastgroup or ""]
        if part.end() == len(text):
            return total
        gap = len(_SEPARATOR.findall(text, part.end())[0])
        position, sign = part.end() + gap, 1 if gap else sign


def _iso_seconds(text: str) -> float | None:
    match = _ISO.fullmatch(text)
    if not match:
        return None
    days, times = _ISO_PART.findall(match[1]), _ISO_PART.findall(match[2] or "")
    units = [(number, "M" if unit == "M" else unit.lower()) for number, unit in days]
    units += [(number, unit.lower()) for number, unit in times]
    return sum(float(number) * _UNITS_S[unit] for number, unit in units)


def _with_options(value: object) -> tuple[object, Mapping[str, object]]:
    """As resque-scheduler reads it: options count only as the second of two elements."""
    if not isinstance(value, list) or not value:
        return value, {}
    has_options = len(value) == 2 and isinstance(value[1], dict)
    return value[0], value[1] if has_options else {}


def _objection_to_every(value: object) -> str | None:
    period, options = _with_options(value)
    if not isinstance(period, str):
        return f"`every` must be text, got {value!r}"
    try:
        milliseconds = parse_every(period)
    except InvalidEvery as error:
        return str(error)
    if milliseconds < SHORTEST_S * 1000:
        return f"`every` {period!r} is shorter than {SHORTEST_S} s, which rufus rejects"
    return _objection_to_options(options)


def _objection_to_options(options: Mapping[str, object]) -> str | None:
    unknown = sorted(options.keys() - _OPTIONS)
    if unknown:
        return (
            f"options {', '.join(unknown)}: only {', '.join(sorted(_OPTIONS))} are known to be safe"
        )
    if not isinstance(options.get("overlap", True), bool):
        return f"option overlap must be true or false, got {options['overlap']!r}"
    times = options.get("times")
    if times is not None and (isinstance(times, bool) or not isinstance(times, int)):
        return f"option times must be a whole number, got {times!r}"
    try:
        parse_every(options.get("first_in", "1s"))
    except InvalidEvery as error:
        return f"option first_in: {error}"
    return None


# -- cron ----------------------------------------------------------------------------------------


def _objection_to_cron(value: object) -> str | None:
    if not isinstance(value, str):
        return f"`cron` must be text, got {value!r}"
    if value != value.strip() or not value:
        return f"`cron` {value!r} begins or ends with a blank, or is empty"
    try:
        schedule = CronSchedule.parse(value)
    except InvalidCron as error:
        return str(error)
    months = parse_fields(value).month.split(",")
    return _objection_to_zone(schedule, value) or _objection_to_days(schedule.days, months)


def _objection_to_zone(schedule: CronSchedule, text: str) -> str | None:
    zone, minutes = text.rsplit(" ", maxsplit=1)[-1], schedule.zone.utcoffset(None)
    if "\t" in text:
        return f"`cron` {text!r} contains a tab; use spaces"
    if zone[0] in "+-" and minutes is not None and not _rufus_knows_offset(minutes):
        return f"offset {zone!r}: rufus supports only quarter hours below 12 hours"
    return None


def _rufus_knows_offset(offset: timedelta) -> bool:
    return abs(offset) < timedelta(hours=12) and not offset % timedelta(minutes=15)


def _objection_to_days(days: Days, months: list[str]) -> str | None:
    rules = days.weekdays or ()
    special = [rule for rule in rules if rule.nth or rule.every > 1]
    named = Counter(rule.day for rule in rules)
    if any(named[rule.day] > 1 for rule in special):
        return "a weekday with # or % is named twice; Ruby uses only the first or crashes"
    if any(rule.day == TUESDAY and rule.every > 1 for rule in special):
        return "Ruby misses Tuesdays with % during summer time"
    if days.monthdays and days.weekdays and "*" not in months and _drops_a_month(days):
        return "a month without such a day; Ruby then ignores its weekdays too"
    if special and _longest_wait(days) > LONGEST_SEARCH_DAYS:
        return "it fires so rarely that Ruby gives up searching and crashes"
    return None


def _longest_wait(days: Days) -> int:
    first, last = _SEARCHED
    fires = [first, *days.between(first, last), last]
    return max(after - before for before, after in pairwise(fires))


def _drops_a_month(days: Days) -> bool:
    lengths = {month: monthrange(LEAP_YEAR, month)[1] for month in days.months}
    return any(min(days.monthdays or (0,)) > length for length in lengths.values())


class InvalidSchedule(UsageError):
    """A Ruby schedule can't be run, or must not be written."""


@dataclass(frozen=True, slots=True)
class RubySchedule:
    """A schedule shared with Ruby's clients and schedulers.

    Attributes:
        raw: the entry itself.
        class_name: the job's class: `custom_job_class` if given, else `class`.
        queue: None: that of the class.
        args: the job's arguments as JSON, in the exact text of the entry.
        environments: in which it runs; None: in all.
        timing: its timing, for people.
        digest: detects changes of the entry.
        other: names of rufus options that are not supported here.
    """

    name: str
    raw: bytes
    class_name: str
    queue: str | None
    args: bytes
    cron: CronSchedule | None
    every: Every | None
    environments: tuple[str, ...] | None
    timing: str
    digest: str
    other: tuple[str, ...] = ()

    @property
    def job(self) -> bytes:
        """The job, as Ruby's `Resque::Job.create` writes it: without its queue."""
        return b'{"class":' + codec.encode_text(self.class_name) + b',"args":' + self.args + b"}"

    @property
    def arguments(self) -> list[Any]:
        """The job's arguments."""
        found: list[Any] = codec.decode_text(self.args)
        return found

    def runs_in(self, environment: str | None) -> bool:
        """Whether it runs in an environment (RAILS_ENV)."""
        return self.environments is None or environment in self.environments


def parse(name: str, raw: bytes, zone: str | None = None) -> RubySchedule:
    """Read an entry.

    Args:
        zone: of a cron expression that names none.

    Raises:
        UsageError: what is wrong with it; a Ruby scheduler may crash on it.
    """
    try:
        entry = read_strict(raw)
    except ValueError as error:
        raise InvalidSchedule(f"it is not JSON that Ruby can read: {error}") from error
    if not isinstance(entry, dict):
        raise InvalidSchedule(f"it must be an object, got {type(entry).__name__}")
    cron, every = entry.get("cron") or None, entry.get("every") or None
    if cron is None and every is None:
        raise InvalidSchedule("it has neither `cron` nor `every`")
    return RubySchedule(
        name=name,
        raw=raw,
        class_name=_class_of(entry),
        queue=_text(entry, "queue"),
        args=_args(raw, entry),
        cron=None if cron is None else parse_cron_entry(cron, zone),
        every=None if cron is not None else parse_every_entry(every, zone),
        other=other_options(every if cron is None else cron),
        environments=_environments(entry),
        timing=_timing(cron, every),
        digest=codec.digest(raw)[:12],
    )


def _class_of(entry: Mapping[str, Any]) -> str:
    """Ruby enqueues this class if it can't load the custom one; here none can be loaded."""
    custom = entry.get("custom_job_class")
    name = custom if custom and custom != "Resque::Job" else entry.get("class")
    if not isinstance(name, str) or not name:
        raise InvalidSchedule(f"its `class` must be a class name, got {name!r}")
    return name


def _text(entry: Mapping[str, Any], key: str) -> str | None:
    value = entry.get(key)
    if value is None or (isinstance(value, str) and value):
        return value
    raise InvalidSchedule(f"its `{key}` must be text, got {value!r}")


def _args(raw: bytes, entry: Mapping[str, Any]) -> bytes:
    """A value that is not a list is the only argument; null means none (Ruby's `Array(args)`)."""
    args = entry.get("args")
    if args is None:
        return b"[]"
    text = member_text(raw, "args") or codec.encode_text(args)
    return text if isinstance(args, list) else b"[" + text + b"]"


def _environments(entry: Mapping[str, Any]) -> tuple[str, ...] | None:
    text = _text(entry, "rails_env") or _text(entry, "env")
    return None if text is None else tuple(re.split(r"[\s,]+", text))


def _timing(cron: object, every: object) -> str:
    shown = every if cron is None else cron
    words = shown if isinstance(shown, str) else codec.encode_text(shown).decode()
    return f"every {words}" if cron is None else words


def encode(name: str, config: Mapping[str, Any]) -> bytes:
    """The text of an entry that is safe for every Ruby scheduler.

    Raises:
        InvalidSchedule: it would crash Ruby's schedulers, or mean something else there.
    """
    if not name or not isinstance(name, str):
        raise InvalidSchedule(f"the name of a schedule must be text, got {name!r}")
    entry = {key: value for key, value in config.items() if key != "persist"}
    entry.setdefault("class", name)
    if why := why_not_rufus(entry):
        raise InvalidSchedule(
            f"schedule {name!r} was not written, because Ruby's schedulers can't handle it: {why}"
        )
    if entry.get("queue") is not None:
        check_queue_name(entry["queue"])
    text = codec.encode_object(entry, f"schedule {name!r}").encode()
    try:
        parse(name, text)
    except UsageError as error:
        raise InvalidSchedule(f"schedule {name!r}: {error}") from error
    return text


def ruby_time(ms: int) -> str:
    """A time as Ruby's `Time#to_s` formats it, in UTC: `2026-11-21 00:37:16 +0000`."""
    return f"{iso_utc(ms * 1000)[:19].replace('T', ' ')} +0000"
