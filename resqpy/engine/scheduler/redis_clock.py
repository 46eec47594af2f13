"""Redis' clock as seen from here: the one clock that all processes of an installation share.

It is estimated from Redis' answers and a clock of ours that never steps, so that neither a step of
this machine's clock nor a wrong one matters.
"""

from __future__ import annotations

from collections.abc import Callable

from resqpy.base.clock import Clock, told_ms
from resqpy.store.connection.client import Store


class RedisClock:
    """An estimate that is a little behind, never ahead (by the way of the answer).

    Args:
        clock: before the first answer, its time is taken for Redis'.

    Attributes:
        monotonic: seconds of our clock that never steps.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.monotonic: Callable[[], float] = clock.monotonic
        self._ahead_us = clock.now_us() - clock.monotonic() * 1_000_000
        self._heard_s = float("-inf")

    def note(self, time_us: int) -> None:
        """Redis has just said what time it is, in microseconds since the epoch."""
        self._heard_s = self.monotonic()
        self._ahead_us = time_us - self._heard_s * 1_000_000

    def note_between(self, time_us: int, asked_s: float) -> None:
        """Redis said what time it is, at some moment since we asked: where the estimate agrees with
        that, it stays, for an answer may have waited here before somebody saw it.
        """
        self._heard_s = self.monotonic()
        least_us = time_us - self._heard_s * 1_000_000
        most_us = time_us - asked_s * 1_000_000
        self._ahead_us = min(max(self._ahead_us, least_us), most_us)

    @property
    def age_s(self) -> float:
        """How long ago Redis last said what time it is; infinite: never yet."""
        return self.monotonic() - self._heard_s

    def now_us(self) -> int:
        """Microseconds since the epoch."""
        return int(self.monotonic() * 1_000_000 + self._ahead_us)

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        return self.now_us() // 1000


class FollowingClock(RedisClock):
    """A clock that a test has set: what Redis says is no matter to it."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.set_by_test: bool = True
        self._followed = clock

    def note(self, time_us: int) -> None:
        """It is no matter to us."""

    def note_between(self, time_us: int, asked_s: float) -> None:
        """Nor is this."""

    def now_us(self) -> int:
        return self._followed.now_us()


async def shared_clock(clock: Clock, store: Store) -> RedisClock:
    """Redis' clock, which has just been asked; or the one that a test has set."""
    if told_ms(clock) is not None:
        return FollowingClock(clock)
    shared = RedisClock(clock)
    await hear(shared, store)
    return shared


async def hear(clock: RedisClock, store: Store) -> None:
    """Ask Redis what time it is."""
    asked_s = clock.monotonic()
    clock.note_between(await store.time_us(), asked_s)
