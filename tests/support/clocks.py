"""Clocks of machines that are wrong."""

from __future__ import annotations

from resqpy.base.clock import SystemClock

HOURS = 3_600_000


class WrongClock(SystemClock):
    """A machine's clock that is fast, or slow; it may step.

    Attributes:
        ahead_ms: by how much.
    """

    def __init__(self, ahead_ms: int) -> None:
        self.ahead_ms: int = ahead_ms

    def now_ms(self) -> int:
        return self.now_us() // 1000

    def now_us(self) -> int:
        return super().now_us() + self.ahead_ms * 1000


class SteppedClock(SystemClock):
    """A monotonic clock that stands still until the test moves it on."""

    def __init__(self) -> None:
        self._now_s = super().monotonic()

    def monotonic(self) -> float:
        return self._now_s

    def pass_by(self, seconds: float) -> None:
        """So much time has passed."""
        self._now_s += seconds
