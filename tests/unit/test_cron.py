"""Cron expressions: what is understood, what is refused, and that the fires are those named."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from hypothesis import given, strategies as st

from resqpy.base.cron.cron import CronSchedule, InvalidCron
from resqpy.base.errors import ResqpyError, UsageError

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


def next_three(schedule: CronSchedule, start: datetime = NEW_YEAR) -> list[str]:
    """The next fires in UTC, short."""
    fires = islice(schedule.between(start + timedelta(seconds=1), start.replace(year=2060)), 3)
    return [f"{fire.at:%Y-%m-%d %H:%M:%S}".removesuffix(":00") for fire in fires]


class TestUnderstood:
    """Formats that are accepted."""

    @pytest.mark.parametrize(
        ("expression", "fires"),
        [
            ("* * * * *", ["2026-01-01 00:01", "2026-01-01 00:02", "2026-01-01 00:03"]),
            (
                "*/15 * * * * *",
                ["2026-01-01 00:00:15", "2026-01-01 00:00:30", "2026-01-01 00:00:45"],
            ),
            ("30 0 9 * * *", ["2026-01-01 09:00:30", "2026-01-02 09:00:30", "2026-01-03 09:00:30"]),
            ("0 0 * * 0", ["2026-01-04 00:00", "2026-01-11 00:00", "2026-01-18 00:00"]),
            ("0 0 * * 7", ["2026-01-04 00:00", "2026-01-11 00:00", "2026-01-18 00:00"]),
            ("0 9 * * mon-FRI", ["2026-01-01 09:00", "2026-01-02 09:00", "2026-01-05 09:00"]),
            ("0 0 * * fri-mon", ["2026-01-02 00:00", "2026-01-03 00:00", "2026-01-04 00:00"]),
            ("0 0 1 jan *", ["2027-01-01 00:00", "2028-01-01 00:00", "2029-01-01 00:00"]),
            ("0 0 * jan-jan *", ["2026-01-02 00:00", "2026-01-03 00:00", "2026-01-04 00:00"]),
            ("0 0 L * *", ["2026-01-31 00:00", "2026-02-28 00:00", "2026-03-31 00:00"]),
            ("0 0 last * *", ["2026-01-31 00:00", "2026-02-28 00:00", "2026-03-31 00:00"]),
            ("0 0 -1 * *", ["2026-01-31 00:00", "2026-02-28 00:00", "2026-03-31 00:00"]),
            ("0 0 -2--1 * *", ["2026-01-30 00:00", "2026-01-31 00:00", "2026-02-27 00:00"]),
            ("0 0 1,-1 * *", ["2026-01-31 00:00", "2026-02-01 00:00", "2026-02-28 00:00"]),
            ("0 0 30-l * *", ["2026-01-30 00:00", "2026-01-31 00:00", "2026-03-30 00:00"]),
            ("0 0 * * sun#1", ["2026-01-04 00:00", "2026-02-01 00:00", "2026-03-01 00:00"]),
            ("0 0 * * 0#1,0#3", ["2026-01-04 00:00", "2026-01-18 00:00", "2026-02-01 00:00"]),
            ("0 0 * * sun#-1", ["2026-01-25 00:00", "2026-02-22 00:00", "2026-03-29 00:00"]),
            ("0 0 * * sun#L", ["2026-01-25 00:00", "2026-02-22 00:00", "2026-03-29 00:00"]),
            ("0 0 * * 1%2", ["2026-01-05 00:00", "2026-01-19 00:00", "2026-02-02 00:00"]),
            ("0 0 * * 1%2+1", ["2026-01-12 00:00", "2026-01-26 00:00", "2026-02-09 00:00"]),
            ("0 0 13 * 5", ["2026-01-02 00:00", "2026-01-09 00:00", "2026-01-13 00:00"]),
            ("0 0 30 2 mon", ["2026-02-02 00:00", "2026-02-09 00:00", "2026-02-16 00:00"]),
            ("0 0 29 2 *", ["2028-02-29 00:00", "2032-02-29 00:00", "2036-02-29 00:00"]),
            ("0 24 * * *", ["2026-01-02 00:00", "2026-01-03 00:00", "2026-01-04 00:00"]),
            ("0 20-24/2 * * *", ["2026-01-01 20:00", "2026-01-01 22:00", "2026-01-02 00:00"]),
            ("0 22-4/3 * * *", ["2026-01-01 01:00", "2026-01-01 04:00", "2026-01-01 22:00"]),
            ("59/15 * * * *", ["2026-01-01 00:59", "2026-01-01 01:59", "2026-01-01 02:59"]),
            ("5/20 * * * *", ["2026-01-01 00:05", "2026-01-01 00:25", "2026-01-01 00:45"]),
            ("/20 * * * *", ["2026-01-01 00:20", "2026-01-01 00:40", "2026-01-01 01:00"]),
            ("7-7 * * * *", ["2026-01-01 00:07", "2026-01-01 01:07", "2026-01-01 02:07"]),
            ("5-10/2 * * * *", ["2026-01-01 00:05", "2026-01-01 00:07", "2026-01-01 00:09"]),
            ("0 0 * * 5-7/2", ["2026-01-02 00:00", "2026-01-04 00:00", "2026-01-09 00:00"]),
            ("@hourly", ["2026-01-01 01:00", "2026-01-01 02:00", "2026-01-01 03:00"]),
            ("@noon", ["2026-01-01 12:00", "2026-01-02 12:00", "2026-01-03 12:00"]),
            ("@midnight", ["2026-01-02 00:00", "2026-01-03 00:00", "2026-01-04 00:00"]),
            ("@weekly", ["2026-01-04 00:00", "2026-01-11 00:00", "2026-01-18 00:00"]),
            ("@annually", ["2027-01-01 00:00", "2028-01-01 00:00", "2029-01-01 00:00"]),
            (
                "0 0 * * * Europe/Berlin",
                ["2026-01-01 23:00", "2026-01-02 23:00", "2026-01-03 23:00"],
            ),
            ("0 0 * * * +05:30", ["2026-01-01 18:30", "2026-01-02 18:30", "2026-01-03 18:30"]),
            ("0 0 0 * * mon America/New_York", ["2026-01-05 05:00", "2026-01-12 05:00"]),
            (" 0\t0  * * * \n", ["2026-01-02 00:00", "2026-01-03 00:00", "2026-01-04 00:00"]),
        ],
    )
    def test_the_next_fires(self, expression: str, fires: list[str]) -> None:
        """Each format means what rufus, and crontab(5) where it has it, says."""
        assert next_three(CronSchedule.parse(expression))[: len(fires)] == fires

    def test_the_zone_in_the_text_counts(self) -> None:
        """A zone given beside the text is that of expressions without one."""
        berlin = CronSchedule.parse("0 9 * * * Europe/Berlin", "Asia/Tokyo")
        tokyo = CronSchedule.parse("0 9 * * *", ZoneInfo("Asia/Tokyo"))
        offset = CronSchedule.parse("0 9 * * *", "-03:30")

        assert (berlin.zone_name, tokyo.zone_name) == ("Europe/Berlin", "Asia/Tokyo")
        assert CronSchedule.parse("0 9 * * *").zone_name == "UTC"
        assert offset.zone == timezone(-timedelta(hours=3, minutes=30))

    @pytest.mark.parametrize(
        ("expression", "fixed"),
        [
            ("0 0 * * *", True),
            ("0-59 0-23 * * *", True),
            ("5,*/10 3 * * *", True),
            ("* 30 3 * * *", True),
            ("@daily", True),
            ("0 */2 * * *", False),
            ("* 3 * * *", False),
            ("*,5 3 * * *", False),
            ("/5 3 * * *", False),
            ("@hourly", False),
        ],
    )
    def test_what_is_a_fixed_time(self, expression: str, *, fixed: bool) -> None:
        """A job is a wildcard job if its minute or hour field begins with a star, as in Debian."""
        assert CronSchedule.parse(expression).fixed_time is fixed

    def test_a_schedule_is_a_value(self) -> None:
        """Equal texts in equal zones are equal schedules."""
        one, two = (CronSchedule.parse("0 9 * * *", "Europe/Berlin") for _ in range(2))

        assert one == two
        assert len({one, two, CronSchedule.parse("0 9 * * *")}) == 2
        assert "0 9 * * *" in repr(one)


class TestRefused:
    """Formats that are not accepted."""

    @pytest.mark.parametrize(
        ("expression", "named"),
        [
            ("@reboot", "@yearly"),
            ("@DAILY", "@daily"),
            ("@daily UTC", "'@daily UTC'"),
            ("0 0 * * ?", "weekday '?'"),
            ("0 0 12 * * ? *", "7 fields"),
            ("* * *", "3 fields"),
            ("", "1 fields"),
            ("60 * * * *", "0 to 59"),
            ("0 25 * * *", "hour '25'"),
            ("0 0 0 * *", "day of the month '0'"),
            ("0 0 32 * *", "day of the month '32'"),
            ("0 0 -0 * *", "-31 to -1"),
            ("0 0 -1--3 * *", "'-1--3'"),
            ("0 0 1--1 * *", "'1--1'"),
            ("0 0 L-5 * *", "day of the month 'l'"),
            ("0 0 * 13 *", "month '13'"),
            ("0 0 * * 8", "weekday '8'"),
            ("0 0 * * 05", "weekday '05'"),
            ("0 0 * * monday", "weekday 'monday'"),
            ("0 0 * * sun#6", "weekday 'sun#6'"),
            ("0 0 * * 1%0", "weekday '1%0'"),
            ("0 0 * * 5L", "weekday '5l'"),
            ("0 0 15W * *", "day of the month '15w'"),
            ("H * * * *", "minute 'h'"),
            ("*/0 * * * *", "1 to 99"),
            ("*/100 * * * *", "minute '*/100'"),
            ("*-5 * * * *", "minute '*-5'"),
            ("1, * * * *", "minute ''"),
            ("1.5 * * * *", "minute '1.5'"),
            ("٥ * * * *", "minute '٥'"),
            ("005 * * * *", "minute '005'"),
            ("5/1 * * * *", "minute '5/1'"),
            ("0 24-3/2 * * *", "hour '24-3/2'"),
            ("0 0 * * 1/2", "1-5/2"),
            ("0 0 * * fri-mon/2", "weekday 'fri-mon/2'"),
            ("0 0 1 * */1", "weekday '*/1'"),
            ("0 0 * * *,5", "weekday '*'"),
            ("0 0 30 2 *", "never fires"),
            ("0 0 31 2,4,6 *", "never fires"),
            ("0 0 -30 2 *", "never fires"),
            ("0 0 * * * Mars/Base", "time zone 'Mars/Base'"),
            ("0 0 * * * Europe", "time zone 'Europe'"),
            ("0 0 * * * +25:00", "weekday '+25:00'"),
            ("0 0 * * UTC", "4 fields"),
            ("every 5 minutes", "3 fields"),
            ("every day at noon", "4 fields"),
            ("30 1 &1 * *", "day of the month '&1'"),
        ],
    )
    def test_the_error_names_the_part(self, expression: str, named: str) -> None:
        """The message names the expression and the part that is wrong."""
        with pytest.raises(InvalidCron) as refused:
            CronSchedule.parse(expression)

        assert repr(expression) in str(refused.value)
        assert named in str(refused.value)
        assert isinstance(refused.value, ResqpyError)

    @pytest.mark.parametrize("zone", ["Mars/Base", "", "../etc/passwd", "localtime", "right/UTC"])
    def test_unknown_zones(self, zone: str) -> None:
        """Only names of the tz database and offsets are zones."""
        with pytest.raises(InvalidCron, match=f"time zone {zone!r}"):
            CronSchedule.parse("0 0 * * *", zone)

    def test_what_is_no_text(self) -> None:
        """Values from a config file may be of any type."""
        with pytest.raises(InvalidCron):
            CronSchedule.parse(5)  # type: ignore[arg-type]

    def test_naive_moments(self) -> None:
        """A moment without a zone is nobody's moment."""
        schedule = CronSchedule.parse("0 0 * * *")
        naive = NEW_YEAR.replace(tzinfo=None)

        with pytest.raises(UsageError, match="time zone"):
            schedule.next_after(naive)
        with pytest.raises(UsageError, match="time zone"):
            next(schedule.between(NEW_YEAR, naive))


class TestAnswers:
    """The bounds of the questions."""

    def test_after_and_before_are_strict(self) -> None:
        """A fire is neither after nor before itself, whatever the fraction of the second."""
        schedule = CronSchedule.parse("0 9 * * *", "Europe/Berlin")
        nine = datetime(2026, 5, 5, 7, tzinfo=UTC)
        little, day = timedelta(microseconds=1), timedelta(days=1)

        assert schedule.next_after(nine - little) == nine
        assert schedule.next_after(nine) == nine + day
        assert schedule.next_after(nine + little) == nine + day
        assert schedule.previous_before(nine + little) == nine
        assert schedule.previous_before(nine) == nine - day
        assert schedule.previous_before(nine - little) == nine - day

    def test_between_includes_its_start_only(self) -> None:
        """Spans that meet share no fire and leave none out."""
        schedule = CronSchedule.parse("0 * * * *")
        span = (NEW_YEAR, NEW_YEAR + timedelta(hours=3))

        assert [fire.at.hour for fire in schedule.between(*span)] == [0, 1, 2]

    def test_answers_are_in_utc(self) -> None:
        """Moments may come in any zone; a fire also tells the local time."""
        schedule = CronSchedule.parse("0 9 * * *", "Asia/Tokyo")
        start = datetime(2026, 1, 1, 12, tzinfo=ZoneInfo("America/New_York"))

        fire = next(schedule.between(start, start + timedelta(days=2)))

        assert fire.at == schedule.next_after(start) == datetime(2026, 1, 2, 0, tzinfo=UTC)
        assert fire.at.tzinfo is UTC
        assert fire.local.isoformat() == "2026-01-02T09:00:00+09:00"
        assert (fire.named, fire.mark, fire.note) == (fire.local.replace(tzinfo=None), "normal", "")

    def test_the_ends_of_the_calendar(self) -> None:
        """Where no fire is left the answer is None."""
        schedule = CronSchedule.parse("0 0 1 1 *")
        late = datetime(9997, 6, 1, tzinfo=UTC), datetime(9999, 6, 1, tzinfo=UTC)

        assert [fire.named.year for fire in schedule.between(*late)] == [9998]
        assert list(schedule.omitted(*late)) == []
        assert schedule.next_after(datetime(9998, 6, 1, tzinfo=UTC)) is None
        assert schedule.previous_before(datetime(2, 1, 1, tzinfo=UTC)) is None
        assert list(schedule.omitted(NEW_YEAR, NEW_YEAR + timedelta(days=400))) == []


DAYS_OF_2026 = [date(2026, 1, 1) + timedelta(days=number) for number in range(365)]
Meant = tuple[Callable[[date], bool], Callable[[int, int], bool], tuple[int, ...]]


def any_day(_day: date) -> bool:
    """Every day."""
    return True


# expression: (is it on this day?, at this hour and minute?, at which seconds)
YEAR: dict[str, Meant] = {
    "* * * * *": (any_day, lambda _h, _m: True, (0,)),
    "0 * * * *": (any_day, lambda _h, m: m == 0, (0,)),
    "*/7 * * * *": (any_day, lambda _h, m: m % 7 == 0, (0,)),
    "3-50/7 */5 * * *": (any_day, lambda h, m: h % 5 == 0 and m in range(3, 51, 7), (0,)),
    "0 0 * * *": (any_day, lambda h, m: h == m == 0, (0,)),
    "59 23 31 12 *": (
        lambda d: (d.month, d.day) == (12, 31),
        lambda h, m: (h, m) == (23, 59),
        (0,),
    ),
    "30 4 1,15 * 5": (
        lambda d: d.day in (1, 15) or d.weekday() == 4,
        lambda h, m: (h, m) == (4, 30),
        (0,),
    ),
    "0 22 * * 1-5": (lambda d: d.weekday() < 5, lambda h, m: (h, m) == (22, 0), (0,)),
    "5 4 * * sun": (lambda d: d.weekday() == 6, lambda h, m: (h, m) == (4, 5), (0,)),
    "0 0 */10 * *": (lambda d: d.day % 10 == 1, lambda h, m: h == m == 0, (0,)),
    "0 12 * jan-mar,dec *": (
        lambda d: d.month in (12, 1, 2, 3),
        lambda h, m: (h, m) == (12, 0),
        (0,),
    ),
    "0 12 L * *": (
        lambda d: (d + timedelta(days=1)).month != d.month,
        lambda h, m: (h, m) == (12, 0),
        (0,),
    ),
    "0 12 -3 * *": (
        lambda d: (d + timedelta(days=3)).month != d.month == (d + timedelta(days=2)).month,
        lambda h, m: (h, m) == (12, 0),
        (0,),
    ),
    "0 12 * * tue#2": (
        lambda d: d.weekday() == 1 and 8 <= d.day <= 14,
        lambda h, m: (h, m) == (12, 0),
        (0,),
    ),
    "0 12 * * fri#-1": (
        lambda d: d.weekday() == 4 and (d + timedelta(days=7)).month != d.month,
        lambda h, m: (h, m) == (12, 0),
        (0,),
    ),
    "0 12 * * wed%2": (
        lambda d: d.weekday() == 2 and (d - date(2026, 1, 14)).days % 14 == 0,
        lambda h, m: (h, m) == (12, 0),
        (0,),
    ),
    "0 12 13 * fri#1": (
        lambda d: d.day == 13 or (d.weekday() == 4 and d.day <= 7),
        lambda h, m: (h, m) == (12, 0),
        (0,),
    ),
    "*/20 30 9-17 * * mon-fri": (
        lambda d: d.weekday() < 5,
        lambda h, m: m == 30 and 9 <= h <= 17,
        (0, 20, 40),
    ),
    "15 0 22-2 * * *": (any_day, lambda h, m: m == 0 and h in (22, 23, 0, 1, 2), (15,)),
}


def named_in_2026(meant: Meant) -> list[datetime]:
    """Every minute of the year asked, without any arithmetic of cron's."""
    day_is, time_is, seconds = meant
    times = [time(h, m, s) for h in range(24) for m in range(60) if time_is(h, m) for s in seconds]
    return [datetime.combine(day, at) for day in DAYS_OF_2026 if day_is(day) for at in times]


class TestAYear:
    """A year of schedules: the fires are exactly those that the expressions name."""

    @pytest.mark.parametrize("expression", YEAR)
    def test_in_utc(self, expression: str) -> None:
        """Where no clock changes, every named time fires and nothing else."""
        schedule = CronSchedule.parse(expression)

        fires = [fire.named for fire in schedule.between(NEW_YEAR, NEW_YEAR.replace(year=2027))]

        assert fires == named_in_2026(YEAR[expression])

    @pytest.mark.parametrize("expression", list(YEAR)[1:])
    @pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
    def test_in_zones(self, expression: str, zone: str) -> None:
        """Each named local time fires or is told among the omitted, once each in a doubled hour."""
        schedule = CronSchedule.parse(expression, zone)
        span = [datetime(year, 1, 1, tzinfo=ZoneInfo(zone)) for year in (2026, 2027)]

        fires = list(schedule.between(*span))
        omitted = list(schedule.omitted(*span))

        named = {fire.named for fire in [*fires, *omitted]}
        reached_by_makeup = {
            fire.local.replace(tzinfo=None) for fire in fires if fire.mark == "skipped"
        }
        wanted = set(named_in_2026(YEAR[expression]))
        assert named <= wanted
        assert wanted - named <= reached_by_makeup
        assert not any(fire.runs for fire in omitted)

    @pytest.mark.full
    def test_every_ten_seconds(self) -> None:
        """A year of a fire every ten seconds takes seconds."""
        schedule = CronSchedule.parse("*/10 * * * * *", "Europe/Berlin")
        span = [datetime(year, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")) for year in (2026, 2027)]

        assert sum(1 for _ in schedule.between(*span)) == 365 * 24 * 360


def part(low: int, high: int) -> st.SearchStrategy[str]:
    """One number, a range or a range with a step."""
    number = st.integers(low, high)
    span = st.tuples(number, number).filter(lambda pair: pair[0] < pair[1])
    return st.one_of(
        number.map(str),
        span.map(lambda pair: f"{pair[0]}-{pair[1]}"),
        st.tuples(span, st.integers(2, 20)).map(
            lambda both: f"{both[0][0]}-{both[0][1]}/{both[1]}"
        ),
        st.integers(2, 20).map(lambda step: f"*/{step}"),
    )


def a_field(low: int, high: int) -> st.SearchStrategy[str]:
    """A star, or a list."""
    lists = st.lists(part(low, high), min_size=1, max_size=3).map(",".join)
    return st.one_of(st.just("*"), st.just("*"), lists)


def weekdays(text: str) -> set[int]:
    """The days that a list of weekdays names."""
    named: set[int] = set()
    for each in text.split(","):
        span, _, step = each.partition("/")
        low, _, high = ("0-6" if span == "*" else span).partition("-")
        named |= set(range(int(low), int(high or low) + 1, int(step or 1)))
    return named


EXPRESSIONS = st.tuples(
    st.one_of(st.just("0"), a_field(0, 59)),
    a_field(0, 59),
    a_field(0, 23),
    a_field(1, 28),
    a_field(1, 12),
    a_field(1, 6).filter(lambda text: text == "*" or len(weekdays(text)) < 7),
).map(" ".join)  # all seven days as a list are a star to some versions of croniter
MOMENTS = st.datetimes(
    datetime(2024, 1, 1, tzinfo=UTC).replace(tzinfo=None),
    datetime(2028, 12, 31, tzinfo=UTC).replace(tzinfo=None),
    timezones=st.just(UTC),
)
ZONES = st.sampled_from(
    [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Antarctica/Troll",
        "Africa/Casablanca",
        "America/Santiago",
        "Pacific/Chatham",
    ]
)


class TestProperties:
    """What holds for every schedule."""

    @given(EXPRESSIONS, MOMENTS)
    def test_equals_croniter_in_utc(self, expression: str, moment: datetime) -> None:
        """Where no clock changes, croniter's own dates are a second opinion."""
        schedule = CronSchedule.parse(expression)
        other = croniter(expression, moment, ret_type=datetime, second_at_beginning=True)

        for _ in range(5):
            following = schedule.next_after(moment)
            assert following == other.get_next()
            assert following is not None
            moment = following

    @given(EXPRESSIONS, ZONES, MOMENTS)
    def test_previous_and_next_are_inverse(
        self, expression: str, zone: str, moment: datetime
    ) -> None:
        """Between two neighbours there is nothing, from either side."""
        schedule = CronSchedule.parse(expression, zone)

        following = schedule.next_after(moment)
        assert following is not None
        before = schedule.previous_before(following)
        assert before is not None

        assert before <= moment < following
        assert schedule.next_after(before) == following
        assert schedule.next_after(following - timedelta(seconds=1)) == following

    @given(EXPRESSIONS, ZONES, MOMENTS)
    def test_between_is_next_again_and_again(
        self, expression: str, zone: str, moment: datetime
    ) -> None:
        """Fires strictly increase, and both ways of asking give the same."""
        schedule = CronSchedule.parse(expression, zone)

        fires = [
            fire.at for fire in islice(schedule.between(moment, moment.replace(year=2060)), 50)
        ]

        assert all(one < two for one, two in pairwise(fires))
        assert all(schedule.next_after(one) == two for one, two in pairwise(fires))
        assert fires[0] >= moment
        assert schedule.next_after(moment - timedelta(microseconds=1)) == fires[0]
