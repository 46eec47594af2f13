"""The one place that reads the clock; tests replace its `Clock`.

The clock of this machine may be wrong, so it is used for durations and for display only. What is due, how
long something waits and what has expired is decided by Redis' clock, see `test_ms`.

Milliseconds since the epoch are the unit of the public API, as in node-resque and ActionHero.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Protocol


class Clock(Protocol):
    """What the engine needs to know about time."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch (UTC)."""

    def now_us(self) -> int:
        """Microseconds since the epoch (UTC)."""

    def monotonic(self) -> float:
        """Seconds of a monotonic clock."""


class SystemClock:
    """The clock of the machine."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def now_us(self) -> int:
        return time.time_ns() // 1_000

    monotonic = staticmethod(time.monotonic)


SYSTEM_CLOCK: Clock = SystemClock()


def test_ms(clock: Clock) -> int | None:
    """The time to give to scripts: that of a test's clock; None: use Redis' time."""
    return clock.now_ms() if getattr(clock, "set_by_test", False) else None


class FixedClock:
    """A clock that moves only when `advance` is called; for tests.

    Attributes:
        set_by_test: scripts use its time instead of Redis'.
    """

    set_by_test: bool = True

    def __init__(self, start_ms: int) -> None:
        self._us = start_ms * 1000

    def now_ms(self) -> int:
        return self._us // 1000

    def now_us(self) -> int:
        return self._us

    def monotonic(self) -> float:
        return self._us / 1_000_000

    def advance(self, milliseconds: float) -> None:
        """Move forward (or, with a negative number, step back)."""
        self._us += int(milliseconds * 1000)


def iso_utc(us: int) -> str:
    """ISO 8601 in UTC with microseconds, e.g. `2026-11-21T00:27:20.000123Z` (`run_at`)."""
    seconds, rest = divmod(us, 1_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:06d}Z"


def failed_at_utc(ms: int) -> str:
    """`2026/11/21 00:27:20 UTC`: parsed by both resque-web and JavaScript (wire document, 5.9)."""
    return _failed_at(ms // 1000)


@lru_cache(maxsize=16)
def _failed_at(second: int) -> str:
    return time.strftime("%Y/%m/%d %H:%M:%S UTC", time.gmtime(second))


def heartbeat_utc(seconds: float) -> str:
    """`2026-11-21T00:27:20+00:00`: how Ruby writes a heartbeat, for a time in seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(seconds))
