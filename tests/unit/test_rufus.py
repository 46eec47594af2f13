"""Schedule entries of resque-scheduler: what they mean, and which of them Ruby survives.

The rows about death are those of the recording ruby-07-cron-broken; expressions and intervals are
compared with the real thing in test_cron_rufus.
"""

from __future__ import annotations

import math
import re

import pytest

from resqpy.base.cron.cron import InvalidCron
from resqpy.base.cron.ruby import (
    Every,
    InvalidEvery,
    parse_cron_entry,
    parse_every,
    parse_every_entry,
    why_not_rufus,
)


class TestIntervals:
    """`every`."""

    @pytest.mark.parametrize(
        ("value", "milliseconds"),
        [
            ("5", 5_000),
            (5, 5_000),
            (0.5, 500),
            ("5m", 300_000),
            ("1h10m", 4_200_000),
            ("1.5h", 5_400_000),
            ("15mins", 900_000),
            ("5 minutes", 300_000),
            ("1M", 30 * 86_400_000),
            ("1y", 365 * 86_400_000),
            ("2w3d10m20s", 1_469_420_000),
            ("2h -10m", 6_600_000),
            ("1h and 10 minutes", 4_200_000),
            ("PT5M", 300_000),
            ("P1DT1.5S", 86_401_500),
        ],
    )
    def test_understood(self, value: object, milliseconds: int) -> None:
        """A bare number is seconds, as everywhere in Ruby."""
        assert parse_every(value) == milliseconds

    @pytest.mark.parametrize(
        "value",
        [
            "500ms",
            "every 5m",
            "5 5",
            "1h,",
            "1 Month",
            "x",
            "P1",
            "PT1.5H",
            None,
            True,
            [],
            math.nan,
        ],
    )
    def test_not_understood(self, value: object) -> None:
        """The message names the value and what would be right."""
        with pytest.raises(InvalidEvery, match=re.escape(repr(value))):
            parse_every(value)

    @pytest.mark.parametrize("value", ["0", "0s", "-5s", "PT-5M", "P", "0.0001s", 0, -1])
    def test_not_positive(self, value: object) -> None:
        """What would never end or never begin is refused."""
        with pytest.raises(InvalidEvery, match=re.escape(repr(value))):
            parse_every(value)

    @pytest.mark.parametrize(
        ("value", "every"),
        [
            ("30s", Every(30_000)),
            (["30s"], Every(30_000)),
            (["30s", {"first_in": "5s"}], Every(30_000, 5_000)),
            (["30s", {"first_in": 0}], Every(30_000, 0)),
            (["30s", {"first": "now", "times": 3}], Every(30_000, 0, times=3)),
            (["30s", {"overlap": False, "name": "x"}], Every(30_000, None, ("name", "overlap"))),
            (
                ["1d", {"first_at": "2030-01-01T00:00:00Z", "first_in": "5s"}],
                Every(86_400_000, first_at_ms=1_893_456_000_000),
            ),
            (
                ["1d", {"first": "2030-01-01 01:00:00 Europe/Berlin"}],
                Every(86_400_000, first_at_ms=1_893_456_000_000),
            ),
            (
                [
                    "1d",
                    {
                        "first_at": "2030/01/01 01:00:00 +0100",
                        "last_at": "2030-01-02T00:00:00+00:00",
                    },
                ],
                Every(86_400_000, first_at_ms=1_893_456_000_000, last_at_ms=1_893_542_400_000),
            ),
            (["30s", {"first_in": "5s"}, 1], Every(30_000)),
            (["30s", "x"], Every(30_000)),
        ],
    )
    def test_entries_with_options(self, value: object, every: Every) -> None:
        """Options count only as the second of two, as in resque-scheduler."""
        assert parse_every_entry(value) == every

    @pytest.mark.parametrize("value", [[], ["30s", {"first_in": "soon"}], [{"first_in": "5s"}], {}])
    def test_entries_not_understood(self, value: object) -> None:
        """A wrong option is as wrong as a wrong interval."""
        with pytest.raises(InvalidEvery):
            parse_every_entry(value)


def test_cron_entries() -> None:
    """`cron` may have options, too; its zone is Ruby's own unless it names one."""
    schedule = parse_cron_entry(["0 3 * * *", {"overlap": False}], "Europe/Berlin")

    assert (schedule.expression, schedule.zone_name) == ("0 3 * * *", "Europe/Berlin")
    assert parse_cron_entry("0 3 * * * UTC", "Europe/Berlin").zone_name == "UTC"
    for wrong in (5, None, [5], ""):
        with pytest.raises(InvalidCron):
            parse_cron_entry(wrong)


@pytest.mark.parametrize(
    "entry",
    [
        {"cron": "* * * * *"},
        {"cron": "0 0 * * * Europe/Berlin"},
        {"cron": "0 0 * * * +05:30"},
        {"cron": "@daily"},
        {"cron": "0 0 29 2 *"},
        {"cron": "0 0 31 * mon"},
        {"cron": "0 0 * * mon#1,tue#1"},
        {"cron": "0 0 * * mon%4"},
        {"every": "5s"},
        {"every": "0.3s"},
        {"every": ["1h", {"first_in": "1s", "times": 3, "overlap": False}]},
        {"every": ["1h"]},
        {"cron": "* * * * *", "every": "5s"},
        {"every": "5s", "env": "production,staging", "tz": "UTC", "py": {"a": 1}},
        {"every": "5s", "rails_env": None, "cron": None},
    ],
)
def test_what_ruby_takes(entry: dict[str, object]) -> None:
    """Entries that may be written where Ruby reads."""
    assert why_not_rufus({"class": "ArgsJob", "queue": "alpha", **entry}) is None


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        (None, "NoneType"),
        ([1], "list"),
        ("x", "str"),
        ({}, "neither `cron` nor `every`"),
        ({"cron": "not a cron"}, "3 fields"),
        ({"cron": "0 0 * * ?"}, "weekday '?'"),
        ({"cron": "@reboot"}, "'@reboot'"),
        ({"cron": "0 0 * * * Mars/Base"}, "Mars/Base"),
        ({"cron": ""}, "`cron` ''"),
        ({"cron": " * * * * *"}, "' * * * * *'"),
        ({"cron": "*\t* * * *"}, r"'*\t* * * *'"),
        ({"cron": 5}, "`cron`"),
        ({"cron": ["* * * * *"]}, "`cron`"),
        ({"cron": "0 0 * * * +12:00"}, "+12:00"),
        ({"cron": "0 0 * * * +01:10"}, "+01:10"),
        ({"cron": "0 0 -30 2 *"}, "'0 0 -30 2 *'"),
        ({"cron": "0 0 * * mon#1,mon%2"}, "twice"),
        ({"cron": "0 0 30 2,3 mon"}, "weekdays"),
        ({"cron": "0 0 31 1-12 mon"}, "weekdays"),
        ({"cron": "0 0 * * tue%2"}, "Tuesdays"),
        ({"cron": "0 0 * * mon%500"}, "rarely"),
        ({"every": 5}, "`every`"),
        ({"every": [5, {}]}, "`every`"),
        ({"every": "500ms"}, "'500ms'"),
        ({"every": "0s"}, "'0s'"),
        ({"every": "0.2s"}, "0.3 s"),
        ({"every": ["1h", {"first_at": "2026-01-01"}]}, "first_at"),
        ({"every": ["1h", {"first_in": "-5s"}]}, "first_in"),
        ({"every": ["1h", {"times": "3"}]}, "times"),
        ({"every": ["1h", {"times": True}]}, "times"),
        ({"every": ["1h", {"overlap": 0}]}, "overlap"),
        ({"cron": "* * * * *", "every": 5}, "`every`"),
        ({"every": "5s", "env": ["production"]}, "`env`"),
        ({"every": "5s", "rails_env": 1}, "`rails_env`"),
    ],
)
def test_what_crashes_ruby(entry: object, named: str) -> None:
    """Entries that must not be written there, and the reason for people."""
    assert named in (why_not_rufus(entry) or "")
