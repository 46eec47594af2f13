"""A clock for tests, which stands still until it is moved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from resqpy.base.clock import SYSTEM_CLOCK, FixedClock
from resqpy.base.errors import UsageError
from resqpy.base.when import Duration, Moment, duration_ms, moment_ms
from resqpy.framework.api.api import api
from resqpy.store import delayed
from resqpy.testing.draining import Promoter, promoter
from resqpy.testing.enqueued import EnqueuedJob


class ManualClock:
    """The time for the process' queue, and for the workers of `drain`.

    Moving it does what a scheduler does: delayed jobs and announced periodic tasks enter their queues, in
    the order of their times. Locks and counters are in Redis and use its own clock.

    Args:
        start: milliseconds since the epoch or an aware datetime; None: now, at a full second, because
            delayed jobs are due at full seconds.

    Attributes:
        set_by_test: its time is used instead of Redis'.
    """

    set_by_test: bool = True

    def __init__(self, start: Moment | None = None) -> None:
        now_ms = SYSTEM_CLOCK.now_ms() // 1000 * 1000
        self._clock = FixedClock(now_ms if start is None else moment_ms(start))

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        return self._clock.now_ms()

    def now_us(self) -> int:
        """Microseconds since the epoch."""
        return self._clock.now_us()

    def monotonic(self) -> float:
        """Seconds."""
        return self._clock.monotonic()

    async def advance(self, by: Duration) -> list[EnqueuedJob]:
        """Move forward; returns the jobs that entered their queues.

        Args:
            by: milliseconds or a timedelta; 0: enqueue what is due now.
        """
        return await self.advance_to(self.now_ms() + duration_ms(by, "by"))

    async def advance_to(self, moment: Moment) -> list[EnqueuedJob]:
        """Move to a time; see `advance`.

        Raises:
            UsageError: it is in the past, or a scheduler runs here.
        """
        target_ms = moment_ms(moment)
        if target_ms < self.now_ms():
            raise UsageError(f"{moment!r} is in the past: it is already {self.now_ms()}")
        async with promoter() as each:
            next_ms = await self._work(each)
            while next_ms is not None and next_ms <= target_ms:
                self._move_to(max(next_ms, self.now_ms() + 1))
                next_ms = await self._work(each)
            self._move_to(target_ms)
            return each.enqueued

    def _move_to(self, ms: int) -> None:
        self._clock.advance(max(0, ms - self.now_ms()))

    async def _work(self, each: Promoter) -> int | None:
        """Enqueue what is due; returns when (ms) the next is."""
        await each.promote(self.now_ms())
        next_ms = await each.run_periodic()
        seconds = await delayed.seconds(api.resque.store, 0, 0)
        times = [next_ms, *(int(second) * 1000 for second in seconds if second.isdigit())]
        return min((time for time in times if time is not None), default=None)


@contextmanager
def manual_clock(start: Moment | None = None) -> Iterator[ManualClock]:
    """Let the process that `api` refers to use a manual clock within the block.

    Args:
        start: milliseconds since the epoch or an aware datetime; None: now.
    """
    clock = ManualClock(start)
    parts: list[Any] = [api.resque.queue, api.resque.inspector]
    before = [(part, part.clock) for part in parts if hasattr(part, "clock")]
    for part, _ in before:
        part.clock = clock
    try:
        yield clock
    finally:
        for part, old in before:
            part.clock = old
