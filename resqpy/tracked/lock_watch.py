"""Tells each processing of tracked tasks when its lock is over, with one timer for all of a process:
a timer for each would cost more than the run of a small task.
"""

from __future__ import annotations

import asyncio

from resqpy.base.clock import Clock
from resqpy.tracked.processing import Processing

_NEVER = float("inf")
_AFTER_S = 0.001  # so that a timer that is early by a hair still finds the lock over


class LockWatch:
    """Watches the locks of what is processed, until each has ended."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._watched: set[Processing] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._at_s = _NEVER

    def add(self, processing: Processing) -> None:
        """Watch it until it is over."""
        self._watched.add(processing)
        if processing.lock_until_s < self._at_s:
            self._set_timer(processing.lock_until_s)

    def remove(self, processing: Processing) -> None:
        """It is over; the timer may go off for nothing."""
        self._watched.discard(processing)

    def _set_timer(self, at_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        wait_s = max(0.0, at_s - self._clock.monotonic()) + _AFTER_S
        self._at_s = at_s
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._look)

    def _look(self) -> None:
        self._timer, self._at_s = None, _NEVER
        for processing in tuple(self._watched):
            if not processing.lose_if_over():
                self._watched.discard(processing)
        if self._watched:
            self._set_timer(min(each.lock_until_s for each in self._watched))
