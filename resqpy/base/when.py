"""Every conversion of times given by users into the code's units.

A plain number in the public API is milliseconds; a `timedelta` or an aware `datetime` is accepted too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from resqpy.base.errors import UsageError

Duration = int | float | timedelta
Moment = int | float | datetime

# Milliseconds below this are dates before 1973-03-03: certainly seconds by mistake.
SMALLEST_MS = 10**11
LATEST_MS = 253_402_300_799_000  # the last second of the year 9999, datetime's limit
LONGEST_MS = 1000 * 365 * 86_400_000  # a thousand years: anything longer exceeds the range of dates

EPOCH = datetime.fromtimestamp(0, UTC)
_DURATION = re.compile(r"(\d+(?:\.\d+)?) *(ms|s|m|h|d)?")
_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


_WHOLE = re.compile(r"[0-9]{1,15}")


def whole_number(text: str) -> int | None:
    """A number in digits; None: it is none, or longer than any that is meant.

    `int` after `isdigit` raises for `²` and for 5,000 digits.
    """
    return int(text) if _WHOLE.fullmatch(text) else None


def duration_ms(value: Duration, what: str = "delay") -> int:
    """Milliseconds of a duration.

    Raises:
        UsageError: it is negative, not a number, not finite or longer than a thousand years.
    """
    if isinstance(value, timedelta):
        value = value / timedelta(milliseconds=1)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UsageError(f"{what}: {value!r} is neither milliseconds nor a timedelta")
    if value != value or value in (float("inf"), float("-inf")):
        raise UsageError(f"{what}: {value!r} is not a finite number of milliseconds")
    if value < 0:
        raise UsageError(f"{what}: {value!r} is negative; a duration is zero or more milliseconds")
    if value > LONGEST_MS:
        raise UsageError(f"{what}: {value!r} milliseconds is more than a thousand years")
    return int(value)


def delay_ms(value: Duration, what: str = "delay") -> int:
    """Milliseconds of a delay; a number that can only be a time since 1970 is rejected.

    Raises:
        UsageError: as `duration_ms`.
    """
    if isinstance(value, int | float) and 10 * SMALLEST_MS <= value <= LONGEST_MS:
        raise UsageError(
            f"{what}: {value!r} milliseconds is {value / (365.25 * 86_400_000):.0f} years, so it is a time, not "
            "a delay; pass it as a time (enqueue_at, start), or pass a timedelta"
        )
    return duration_ms(value, what)


def duration_s(value: Duration, what: str = "timeout") -> float:
    """Seconds of a duration given in milliseconds or as a timedelta."""
    return duration_ms(value, what) / 1000


def parse_duration(text: str) -> int:
    """Milliseconds of `5000`, `500ms`, `5s`, `10m`, `1.5h` or `2d`.

    Raises:
        UsageError: it is in another format, or longer than a thousand years.
    """
    found = _DURATION.fullmatch(text.strip().lower())
    if found is None:
        raise UsageError(
            f"{text!r} is not a duration: milliseconds, or a number with ms, s, m, h or d"
        )
    number, unit = found.groups()
    ms = float(number) * _MS[unit or "ms"]
    if ms > LONGEST_MS:
        raise UsageError(f"{text[:40]!r} is more than a thousand years")
    return round(ms)


def lock_seconds(value: Duration, what: str) -> int:
    """Whole seconds, at least one, of a lock time: seconds as in node-resque, or a timedelta.

    Raises:
        UsageError: it is not a positive, finite number.
    """
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise UsageError(f"{what}: {value!r} is neither seconds nor a timedelta")
    if not 0 < number < 10**10:
        raise UsageError(f"{what}: {value!r} is not a valid lock time; pass seconds greater than 0")
    return -int(-number // 1)


def moment_ms(value: Moment, what: str = "timestamp") -> int:
    """Milliseconds since the epoch of a moment.

    Raises:
        UsageError: a naive datetime, not a number, a number that can only be seconds, or a time
            before 1970 or after 9999.
    """
    ms = _datetime_ms(value, what) if isinstance(value, datetime) else value
    if isinstance(ms, bool) or not isinstance(ms, (int, float)):
        raise UsageError(f"{what}: {value!r} is neither milliseconds nor an aware datetime")
    if not 0 <= ms <= LATEST_MS:
        raise UsageError(
            f"{what}: {value!r} is not a time in milliseconds since 1970, and before the year 10000"
        )
    if ms < SMALLEST_MS and ms is value:
        raise UsageError(
            f"{what}: {value!r} must be seconds, but milliseconds are expected: use {value * 1000!r}"
        )
    return math.ceil(ms)


def _datetime_ms(value: datetime, what: str) -> int:
    if value.tzinfo is None:
        raise UsageError(
            f"{what}: {value!r} has no time zone; use datetime.now(timezone.utc) or value.astimezone()"
        )
    return -(-(value - EPOCH) // timedelta(milliseconds=1))  # rounded up: never earlier than asked


def ceil_second(ms: int) -> int:
    """The first whole second not before `ms`, so that nothing starts early."""
    return -(-ms // 1000)


# How long to wait before the next attempt: irontask's retry options. Pure.

_HIGHEST_MS = 100 * 365 * 86_400_000  # longer than anyone waits; keeps the float finite


@dataclass(frozen=True, slots=True)
class Backoff:
    """The wait grows by a factor with each attempt.

    Attributes:
        first_ms: milliseconds before the first retry.
        factor: each wait is this many times the one before; 1: all the same.
        most_ms: upper limit of a wait in milliseconds; None: no limit.
        randomize: multiply each wait by a random number between 1 and 2.
    """

    first_ms: int = 1000
    factor: float = 3.5
    most_ms: int | None = None
    randomize: bool = False

    def __post_init__(self) -> None:
        if self.first_ms < 0 or self.factor < 0 or (self.most_ms or 0) < 0:
            raise UsageError(f"{self!r}: waits and factors must not be negative")

    def delay_ms(self, attempt: int, random: Callable[[], float] = lambda: 0.0) -> int:
        """Milliseconds to wait after attempt `attempt`, counted from 0."""
        spread = 1.0 + random() if self.randomize else 1.0
        try:
            wait = spread * self.first_ms * self.factor**attempt
        except OverflowError:
            wait = float(_HIGHEST_MS)
        limit = _HIGHEST_MS if self.most_ms is None else self.most_ms
        return int(min(wait, limit) + 0.5)

    def text(self) -> str:
        """The text kept in a record: `1000:3.5:-:0`."""
        most = "-" if self.most_ms is None else str(self.most_ms)
        return f"{self.first_ms}:{self.factor:g}:{most}:{int(self.randomize)}"

    @classmethod
    def parse(cls, text: str) -> Backoff:
        """Read `text()` back."""
        first, factor, most, randomize = text.split(":")
        limit = None if most == "-" else int(most)
        return cls(int(first), float(factor), limit, randomize == "1")

    @classmethod
    def fixed(cls, interval_ms: int) -> Backoff:
        """The same wait before each attempt."""
        return cls(interval_ms, 1.0)
