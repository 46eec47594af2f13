"""Debian's rule over every change of every clock in five years, against a copy of Debian's loop.

`debian_runs` is the main loop of Debian's cron.c, minute by minute, with its words (virtual time,
time running) and its own reading of the fields. It knows nothing of stretches, gaps or overlaps.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple
from zoneinfo import TZPATH, ZoneInfo, available_timezones

import pytest

from resqpy.base.cron.cron import CronSchedule
from resqpy.base.cron.fields import stretches

FIRST = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp())
LAST = int(datetime(2029, 1, 1, tzinfo=UTC).timestamp())
ZONES = sorted(available_timezones() - {"localtime", "posixrules"})
AROUND_MIN = 200  # of simulation before and after each change
HOUR = 3600

# Whatever the change: `{low}` is the first wall clock time of the gap or overlap, `{high}` the end.
SCHEDULES = [
    "{low.minute} {low.hour} * * *",  # fixed: the very start of the gap
    "{middle.minute} {middle.hour} * * *",
    "{late.minute} {late.hour} * * *",  # its last minute
    "{high.minute} {high.hour} * * *",  # just after it
    "{low.minute},{middle.minute} {low.hour},{middle.hour},{high.hour} * * *",  # several at once
    "0-59/10 0-23 * * *",  # fixed for Debian: ranges are no stars
    "30 15 {middle.hour} * * *",  # with seconds, fixed
    "*/20 {middle.minute} {middle.hour} * * *",  # seconds do not make a wildcard
    "{middle.minute} {middle.hour} {low.day} {low.month} *",
    "{middle.minute} {middle.hour} * * {weekday}",
    "0 0 * * *",
    "30 2 * * *",
    "0 * * * *",  # wildcards
    "*/5 * * * *",
    "*/20 {middle.hour} * * *",
    "{middle.minute} */2 * * *",
    "*/30 * * * * *",
    "7 */7 {middle.hour} * * *",
]


class Change(NamedTuple):
    """One change of a clock."""

    at: int  # the first second with the new offset
    before: int  # seconds
    after: int
    zone: str


class Job(NamedTuple):
    """A crontab line as Debian's entry.c reads it, with seconds put before."""

    seconds: list[int]
    minutes: set[int]
    hours: set[int]
    monthdays: set[int]
    months: set[int]
    weekdays: set[int]
    wildcard: bool  # MIN_STAR or HR_STAR

    def due(self, minute: int) -> bool:
        """Whether find_jobs would pick it in this local minute; days are never both restricted."""
        if minute % 60 not in self.minutes or minute // 60 % 24 not in self.hours:
            return False
        local = wall(60 * minute)
        return (
            local.month in self.months
            and local.day in self.monthdays
            and local.isoweekday() % 7 in self.weekdays
        )


def job_of(line: str) -> Job:
    """Read a crontab line of the few forms used here."""
    fields = line.split()
    seconds, minutes, hours, monthdays, months, weekdays = ["0"] * (6 - len(fields)) + fields
    return Job(
        sorted(numbers(seconds, 60)),
        numbers(minutes, 60),
        numbers(hours, 24),
        numbers(monthdays, 32),
        numbers(months, 13),
        numbers(weekdays, 7),
        minutes[0] == "*" or hours[0] == "*",
    )


def numbers(text: str, end: int) -> set[int]:
    """`*`, `*/5`, `0-59/10`, `1,2`."""
    span, _, step = text.partition("/")
    if "," in text:
        return {int(part) for part in text.split(",")}
    low, _, high = ("0", "-", str(end - 1)) if span == "*" else span.partition("-")
    return set(range(int(low), int(high or low) + 1, int(step or 1)))


def debian_runs(job: Job, clock: dict[int, int]) -> dict[int, list[int]]:
    """Local minutes that Debian's cron runs, by the real minute in which it does.

    The clock shows a local minute for each real one; the first is the one before the start.
    """
    runs: dict[int, list[int]] = {}
    shown = iter(clock.items())
    _, virtual_time = next(shown)
    for real, time_running in shown:
        time_diff = time_running - virtual_time
        if time_diff == 1 or time_diff > 180 or time_diff <= -180:  # usual, or a correction
            virtual_time = time_running
            wanted = [virtual_time]
        elif time_diff > 0:  # the clock went forward
            wanted = (
                [time_running] if job.wildcard else [*range(virtual_time + 1, time_running + 1)]
            )
            virtual_time = time_running
        else:  # it went back: only wildcard jobs, until virtual time is caught up with
            wanted = [time_running] if job.wildcard else []
        runs[real] = [minute for minute in wanted if job.due(minute)]
    return runs


def expected(job: Job, clock: dict[int, int]) -> list[int]:
    """The seconds of Debian's runs; what it makes up for at once counts once."""
    fires: set[int] = set()
    for real, minutes in debian_runs(job, clock).items():
        fires |= {real * 60 for minute in minutes if minute != clock[real]}
        fires |= {real * 60 + second for second in job.seconds if clock[real] in minutes}
    return sorted(fires)


def offset_of(zone: tzinfo, second: int) -> int:
    """The UTC offset in seconds."""
    offset = datetime.fromtimestamp(second, zone).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())


def changes_of(name: str, step: int) -> Iterator[Change]:
    """All changes of a zone, found by looking every `step` seconds, then by minutes."""
    zone = ZoneInfo(name)
    for second in range(FIRST, LAST, step):
        before, after = offset_of(zone, second), offset_of(zone, second + step)
        if before != after:
            minutes = range(second, second + step + 1, 60)
            at = next(minute for minute in minutes if offset_of(zone, minute) != before)
            yield Change(at, before, after, name)


@cache
def different_changes() -> list[Change]:
    """All changes of all zones, of those that are alike in time and offsets the first."""
    found: dict[tuple[int, int, int], Change] = {}
    for name in ZONES:
        for change in changes_of(name, step=24 * HOUR):
            found.setdefault(change[:3], change)
    return list(found.values())


def lines_for(change: Change) -> list[str]:
    """The schedules with the wall clock times of this change."""
    low = wall(change.at + min(change.before, change.after))
    high = wall(change.at + max(change.before, change.after))
    times = {"low": low, "high": high, "middle": low + (high - low) / 2}
    times["late"] = high - timedelta(minutes=1)
    return [line.format(**times, weekday=low.isoweekday() % 7) for line in SCHEDULES]


def wall(second: int) -> datetime:
    """A local second as a date and time."""
    return datetime.fromtimestamp(second, UTC).replace(tzinfo=None)


def check(change: Change, lines: list[str]) -> None:
    """Compare the fires around a change with Debian's."""
    zone = ZoneInfo(change.zone)
    start, end = change.at // 60 - AROUND_MIN, change.at // 60 + AROUND_MIN
    clock = {real: real + offset_of(zone, 60 * real) // 60 for real in range(start - 1, end)}
    for line in lines:
        wanted = expected(job_of(line), clock)
        schedule = CronSchedule.parse(line, zone)
        fires = [int(fire.at.timestamp()) for fire in schedule.between(utc(start), utc(end))]
        assert fires == wanted, f"{line!r} in {change}"


def utc(minute: int) -> datetime:
    """A minute since 1970 as a moment."""
    return datetime.fromtimestamp(60 * minute, UTC)


@pytest.mark.timeout(600)
def test_each_different_change_of_five_years() -> None:
    """Around every change of 2024 to 2028 the fires are those of Debian's loop."""
    changes = different_changes()

    for number, change in enumerate(changes):
        lines = lines_for(change)[number % 3 :: 3]  # a third: --all takes every zone's, whole
        check(change, lines)

    assert len(changes) > 200
    assert {change.after - change.before for change in changes} >= {1800, -1800, 7200, -7200}


def test_the_zones_that_others_get_wrong_are_among_them() -> None:
    """Half an hour, two hours, 45 minutes, Ramadan, midnight and others are looked at."""
    named = {
        "Australia/Lord_Howe": {1800, -1800},
        "Antarctica/Troll": {7200, -7200},
        "Pacific/Chatham": {3600, -3600},
        "Africa/Casablanca": {3600, -3600},
        "America/Scoresbysund": {3600, -3600},
    }

    found = {
        name: {change.after - change.before for change in changes_of(name, step=24 * HOUR)}
        for name in named
    }

    assert all(found[name] >= sizes for name, sizes in named.items())


@pytest.mark.full
@pytest.mark.timeout(5400)
def test_every_change_of_every_zone_of_five_years() -> None:
    """The same for each zone by itself, with changes looked for by the hour."""
    total = 0

    for name in ZONES:
        for change in changes_of(name, step=HOUR):
            check(change, lines_for(change))
            total += 1

    assert total > 1500


@pytest.mark.full
@pytest.mark.timeout(5400)
def test_no_change_of_any_year_is_missed() -> None:
    """Looking at a zone once a day finds every change that the tz database holds."""
    for name in ZONES:
        listed = changes_on_file(name)
        first = datetime.fromtimestamp(listed[0], UTC).year - 1 if listed else 2100
        spans = (span for year in range(first, 2100) for span in stretches(ZoneInfo(name), year))
        found = [span.end for span in spans if span.offset != span.after]
        assert found[: len(listed)] == listed, name


def changes_on_file(name: str) -> list[int]:
    """The seconds from which another offset is in force, out of the file of a zone (RFC 8536)."""
    data = zone_file(name)
    header = struct.Struct(">4s1s15x6l")
    *_, isut, isstd, leap, times, types, letters = header.unpack_from(data)
    start = header.size + 5 * times + 6 * types + letters + 8 * leap + isstd + isut
    *_, times, types, _ = header.unpack_from(data, start)
    at = start + header.size
    seconds = struct.unpack_from(f">{times}q", data, at)
    kinds = data[at + 8 * times : at + 9 * times]
    offsets = [
        struct.unpack_from(">l", data, at + 9 * times + 6 * kind)[0] for kind in range(types)
    ]
    before = [offsets[0], *(offsets[kind] for kind in kinds)]
    return [s for s, old, kind in zip(seconds, before, kinds, strict=False) if old != offsets[kind]]


def zone_file(name: str) -> bytes:
    """The file that zoneinfo reads."""
    for folder in TZPATH:
        if (path := Path(folder, name)).is_file():
            return path.read_bytes()
    package, _, file = f"tzdata/zoneinfo/{name}".rpartition("/")
    return (resources.files(package.replace("/", ".")) / file).read_bytes()


class Jump(tzinfo):
    """UTC until 2026-06-01 12:00, then another offset."""

    AT = datetime(2026, 6, 1, 12, tzinfo=UTC).replace(tzinfo=None)

    def __init__(self, minutes: int) -> None:
        self.size = timedelta(minutes=minutes)

    def utcoffset(self, moment: datetime | None) -> timedelta:
        """As asked by astimezone; `fromutc` decides."""
        assert moment is not None
        local_change = self.AT + max(self.size, timedelta(0))
        after = moment.replace(tzinfo=None, fold=0) >= local_change or bool(moment.fold)
        return self.size if after else timedelta(0)

    def fromutc(self, moment: datetime) -> datetime:
        """Local time of a moment, the second time marked."""
        naive = moment.replace(tzinfo=None)
        after = naive >= self.AT
        local = naive + self.size if after else naive
        return local.replace(tzinfo=self, fold=int(after and local < self.AT))

    def dst(self, moment: datetime | None) -> timedelta | None:
        return None

    def tzname(self, moment: datetime | None) -> str:
        return "jump"


@pytest.mark.parametrize("minutes", [6, 30, 60, 119, 179, 181, 240, -6, -30, -60, -179, -181, -600])
def test_a_change_of_any_size(minutes: int) -> None:
    """Below three hours it is made up for, above it is a correction; as Debian's loop has it."""
    zone = Jump(minutes)
    at = int(Jump.AT.replace(tzinfo=UTC).timestamp()) // 60
    start, end = at - 14 * 60, at + 14 * 60
    clock = {real: real + minutes * (real >= at) for real in range(start - 1, end)}

    for line in ("30 12 * * *", "15,45 11,13 * * *", "0 */2 * * *", "*/7 * * * *", "0 12 * * *"):
        wanted = expected(job_of(line), clock)
        schedule = CronSchedule.parse(line, zone)
        fires = [int(fire.at.timestamp()) for fire in schedule.between(utc(start), utc(end))]
        assert fires == wanted, line


@pytest.mark.parametrize(("minutes", "times"), [(180, []), (-180, [10, 13])])
def test_exactly_three_hours_are_a_correction(minutes: int, times: list[int]) -> None:
    """A fixed-time job is neither made up for nor held back: the manual says "less than 3 hours"."""
    schedule = CronSchedule.parse("0 13 * * *" if minutes > 0 else "0 10 * * *", Jump(minutes))
    day = datetime(2026, 6, 1, tzinfo=UTC)

    fires = [fire.at.hour for fire in schedule.between(day, day + timedelta(hours=15))]

    assert fires == times


def test_a_day_that_a_zone_left_out() -> None:
    """Samoa had no 30 December 2011; a daily job has no run for it."""
    schedule = CronSchedule.parse("0 9 * * * Pacific/Apia")
    start = datetime(2011, 12, 29, tzinfo=ZoneInfo("Pacific/Apia"))
    end = datetime(2012, 1, 1, tzinfo=ZoneInfo("Pacific/Apia"))

    assert [f"{fire.local:%d %H}" for fire in schedule.between(start, end)] == ["29 09", "31 09"]
    assert [
        (f"{fire.named:%d %H}", fire.mark, fire.runs) for fire in schedule.omitted(start, end)
    ] == [("30 09", "skipped", False)]


@pytest.mark.parametrize(
    ("line", "moment", "previous"),
    [
        ("30 2 * * *", datetime(2026, 3, 29, 2, tzinfo=UTC), "29 03:00"),  # made up for
        ("30 1 * * *", datetime(2026, 3, 29, 1, 0, 1, tzinfo=UTC), "29 01:30"),
        ("0 3 * * *", datetime(2026, 3, 29, 1, 0, 1, tzinfo=UTC), "29 03:00"),
        ("0 3 * * *", datetime(2026, 3, 29, 1, tzinfo=UTC), "28 03:00"),
        ("30 2 * * *", datetime(2026, 10, 25, 1, 45, tzinfo=UTC), "25 02:30"),
        ("30 2 * * *", datetime(2026, 10, 25, 0, 30, tzinfo=UTC), "24 02:30"),
        ("59 23 31 12 *", datetime(2026, 1, 1, 12, tzinfo=UTC), "31 23:59"),
    ],
)
def test_backwards_over_a_change(line: str, moment: datetime, previous: str) -> None:
    """The previous fire is found on the other side of a change."""
    fire = CronSchedule.parse(line, "Europe/Berlin").previous_before(moment)

    assert fire is not None
    assert f"{fire.astimezone(ZoneInfo('Europe/Berlin')):%d %H:%M}" == previous


def test_the_run_right_after_a_gap_belongs_to_its_instant() -> None:
    """A question that starts exactly at the change includes it."""
    change = datetime(2026, 3, 29, 1, tzinfo=UTC)
    schedule = CronSchedule.parse("30 2 * * *", "Europe/Berlin")

    assert schedule.next_after(change - timedelta(seconds=1)) == change
    assert [fire.at for fire in schedule.between(change, change + timedelta(hours=1))] == [change]
    assert list(schedule.between(change - timedelta(hours=1), change)) == []
    assert schedule.previous_before(change + timedelta(microseconds=1)) == change


SPRING = (datetime(2026, 3, 28, 22, tzinfo=UTC), datetime(2026, 3, 29, 4, tzinfo=UTC))
AUTUMN = (datetime(2026, 10, 24, 23, tzinfo=UTC), datetime(2026, 10, 25, 3, tzinfo=UTC))


@pytest.mark.parametrize(
    ("line", "span", "fires", "omitted"),
    [
        ("30 2 * * *", SPRING, ["01:00 02:30 skipped"], []),
        ("0,30 2 * * *", SPRING, ["01:00 02:00 skipped"], ["01:00 02:30 skipped"]),
        ("15 1-3 * * *", SPRING, ["00:15 01:15", "01:00 02:15 skipped", "01:15 03:15"], []),
        ("0 2,3 * * *", SPRING, ["01:00 02:00 skipped"], []),
        ("40 30 2 * * *", SPRING, ["01:00 02:30 skipped"], []),
        ("30 */2 * * *", SPRING, ["23:30 00:30", "02:30 04:30"], ["01:00 02:30 skipped"]),
        ("30 2 * * *", AUTUMN, ["00:30 02:30 doubled"], ["01:30 02:30 doubled"]),
        ("30 */2 * * *", AUTUMN, ["00:30 02:30 doubled", "01:30 02:30 doubled"], []),
        ("0 3 * * *", AUTUMN, ["02:00 03:00"], []),
        ("0 2 * * *", AUTUMN, ["00:00 02:00 doubled"], ["01:00 02:00 doubled"]),
    ],
)
def test_what_is_told_about_a_change(
    line: str, span: tuple[datetime, datetime], fires: list[str], omitted: list[str]
) -> None:
    """Fires carry the named local time and a mark; what does not fire is told apart."""
    schedule = CronSchedule.parse(line, "Europe/Berlin")

    def told(fire_lists: Iterator[tuple[datetime, datetime, str]]) -> list[str]:
        return [
            f"{at:%H:%M} {named:%H:%M} {mark}".removesuffix(" normal")
            for at, named, mark in fire_lists
        ]

    assert told(fire[:3] for fire in schedule.between(*span)) == fires
    assert told(fire[:3] for fire in schedule.omitted(*span)) == omitted
