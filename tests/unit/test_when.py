"""Times a person gives, and times that others left."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from resqpy.base.errors import UsageError
from resqpy.base.foreign_time import moment_of
from resqpy.base.when import ceil_second, duration_ms, duration_s, moment_ms
from tests.support.recordings import recorded_values

INSTANT_MS = 1_795_220_840_000
CEST = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("value", "ms"),
    [
        (0, 0),
        (1500, 1500),
        (1.9, 1),
        (timedelta(seconds=1.5), 1500),
        (timedelta(days=1), 86_400_000),
    ],
)
def test_durations(value: Any, ms: int) -> None:
    """Milliseconds or a timedelta."""
    assert duration_ms(value) == ms
    assert duration_s(value) == ms / 1000


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-1, "negative"), (timedelta(seconds=-1), "negative"), (float("nan"), "finite"),
        (float("inf"), "finite"), (True, "neither"), ("5", "neither"), (None, "neither"),
        (10**20, "thousand years"), (timedelta.max, "thousand years"),
    ],
)  # fmt: skip
def test_refused_durations(value: Any, message: str) -> None:
    """The error names the argument and the value."""
    with pytest.raises(UsageError, match=f"wait: .*{message}"):
        duration_ms(value, "wait")


@pytest.mark.parametrize(
    ("value", "ms"),
    [
        (INSTANT_MS, INSTANT_MS), (INSTANT_MS + 0.1, INSTANT_MS + 1),
        (datetime(2026, 11, 21, 0, 27, 20, tzinfo=UTC), INSTANT_MS),
        (datetime(2026, 11, 21, 2, 27, 20, tzinfo=CEST), INSTANT_MS),
        (datetime(2026, 11, 21, 0, 27, 20, 1, tzinfo=UTC), INSTANT_MS + 1),
        (datetime(2033, 5, 18, 3, 33, 20, 1000, tzinfo=UTC), 2_000_000_000_001),
        (datetime(1970, 1, 2, tzinfo=UTC), 86_400_000),
        (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), 253_402_300_799_000),
    ],
)  # fmt: skip
def test_moments(value: Any, ms: int) -> None:
    """Milliseconds or an aware datetime; rounded up, so nothing is ever early."""
    assert moment_ms(value) == ms


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (datetime(2026, 1, 1), "no time zone"),  # noqa: DTZ001
        (1_795_220_840, "seconds.*1795220840000"),
        (-1, "not a time"), (1e15, "not a time"), (float("nan"), "not a time"), (True, "neither"),
        ("tomorrow", "neither"), (datetime.max.replace(tzinfo=UTC), "the year 10000"),
        (datetime(1969, 12, 31, tzinfo=UTC), "since 1970"), (253_402_300_799_001, "the year 10000"),
    ],
)  # fmt: skip
def test_refused_moments(value: Any, message: str) -> None:
    """Seconds by mistake are told so."""
    with pytest.raises(UsageError, match=message):
        moment_ms(value)


@pytest.mark.parametrize(("ms", "second"), [(0, 0), (1, 1), (1000, 1), (1001, 2)])
def test_seconds_are_rounded_up(ms: int, second: int) -> None:
    """Ruby truncates and Node rounds (trap 22): jobs start early there."""
    assert ceil_second(ms) == second


TIMES = recorded_values("time")


@pytest.mark.parametrize("name", [each for each in TIMES if b"IST" not in TIMES[each]])
def test_recorded_spellings_of_one_instant(name: str) -> None:
    """Ruby's four formats and Node's, in five zones, as bytes or text."""
    assert moment_of(TIMES[name]) == moment_of(TIMES[name].decode()) == INSTANT_MS


@pytest.mark.parametrize(
    ("value", "ms"),
    [
        (1_795_220_840, INSTANT_MS), ("1795220840", INSTANT_MS), (1_795_220_840.5, INSTANT_MS + 500),
        ("2026-11-21T00:27:20.000123Z", INSTANT_MS), ("2026-11-21T00:27:20.5+00:00", INSTANT_MS + 500),
        ("2026/11/21 00:27:20", INSTANT_MS), ("2026/11/20 16:27:20 PST", INSTANT_MS),
        ("2026/11/21 11:27:20 AEDT", INSTANT_MS), ("2026/11/20 21:27:20 -03", INSTANT_MS),
        ("Fri Nov 20 2026 19:27:20 GMT-0500", INSTANT_MS),
    ],
)  # fmt: skip
def test_further_spellings(value: Any, ms: int) -> None:
    """Bare numbers are seconds, no zone is UTC, known abbreviations count."""
    assert moment_of(value) == ms


@pytest.mark.parametrize(
    "value",
    [
        None, "", "soon", True, [], {}, -1, 1e15, "99999999999999", "2026-13-01T00:00:00Z", b"\xff",
        "2026/11/21 05:57:20 XYZ", "Fri Foo 20 2026 19:27:20 GMT", float("nan"), "2026-11-21",
    ],
)  # fmt: skip
def test_what_is_no_time(value: Any) -> None:
    """None, and no error: it is foreign."""
    assert moment_of(value) is None


def test_the_zone_of_the_machine_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """An abbreviation that is ambiguous in the world is not so at home: IST."""
    import time

    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        assert moment_of("2026/11/21 05:57:20 IST") == INSTANT_MS
        monkeypatch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        assert moment_of("2026/06/21 02:00:00 CEST") == moment_of("2026-06-21T00:00:00Z")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert moment_of("2026/11/21 05:57:20 IST") is None
