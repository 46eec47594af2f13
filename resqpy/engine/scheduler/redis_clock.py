"""An estimate of Redis' clock, the one clock that all processes of an installation share.

It is based on Redis' answers and our monotonic clock, so neither a jump of this machine's clock nor a wrong
clock matters.
"""

from __future__ import annotations

from collections.abc import Callable

from resqpy.base.clock import Clock, test_ms
from resqpy.store.connection.client import Store


class RedisClock:
    """An estimate that is slightly behind, never ahead (by the latency of the reply).

    Args:
        clock: used until the first answer.

    Attributes:
        monotonic: seconds of our monotonic clock.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.monotonic: Callable[[], float] = clock.monotonic
        self._ahead_us = clock.now_us() - clock.monotonic() * 1_000_000
        self._heard_s = float("-inf")

    def note(self, time_us: int) -> None:
        """Record Redis' time, just received, in microseconds since the epoch."""
        self._heard_s = self.monotonic()
        self._ahead_us = time_us - self._heard_s * 1_000_000

    def note_between(self, time_us: int, asked_s: float) -> None:
        """Record a time that Redis returned at some moment since the request: if the estimate is consistent
        with it, it stays, because the reply may have waited here before it was processed.
        """
        self._heard_s = self.monotonic()
        least_us = time_us - self._heard_s * 1_000_000
        most_us = time_us - asked_s * 1_000_000
        self._ahead_us = min(max(self._ahead_us, least_us), most_us)

    @property
    def age_s(self) -> float:
        """Seconds since Redis last told its time; infinite: never."""
        return self.monotonic() - self._heard_s

    def now_us(self) -> int:
        """Microseconds since the epoch."""
        return int(self.monotonic() * 1_000_000 + self._ahead_us)

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        return self.now_us() // 1000


class FollowingClock(RedisClock):
    """A clock set by a test: Redis' time is ignored."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.set_by_test: bool = True
        self._followed = clock

    def note(self, time_us: int) -> None:
        """Ignored."""

    def note_between(self, time_us: int, asked_s: float) -> None:
        """Ignored."""

    def now_us(self) -> int:
        return self._followed.now_us()


async def shared_clock(clock: Clock, store: Store) -> RedisClock:
    """Redis' clock, which has just been queried; or the one that a test has set."""
    if test_ms(clock) is not None:
        return FollowingClock(clock)
    shared = RedisClock(clock)
    await hear(shared, store)
    return shared


async def hear(clock: RedisClock, store: Store) -> None:
    """Query Redis' time."""
    asked_s = clock.monotonic()
    clock.note_between(await store.time_us(), asked_s)
