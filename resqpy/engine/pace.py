"""So many things a second, evenly: for who must not fall upon others with all of them at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import TypeVar

from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.errors import UsageError

T = TypeVar("T")

_PARTS_A_SECOND = 10


class Pace:
    """A pace.

    Args:
        rate: things a second; None: as fast as it goes.

    Raises:
        UsageError: the rate is not above 0.
    """

    def __init__(self, rate: float | None) -> None:
        if rate is not None and not rate > 0:
            raise UsageError(f"rate {rate!r}: give a number above 0, so many a second, or None")
        self._rate = rate
        self._due_s = SYSTEM_CLOCK.monotonic()

    def parts(self, things: Sequence[T]) -> Iterator[Sequence[T]]:
        """Things in parts, between which there is a `rest`."""
        step = len(things) if self._rate is None else int(self._rate / _PARTS_A_SECOND)
        step = max(1, step)
        for start in range(0, len(things), step):
            yield things[start : start + step]

    async def rest(self, done: int) -> None:
        """Wait as long as so many things may take; what was late is not caught up."""
        if self._rate is None or not done:
            return
        now_s = SYSTEM_CLOCK.monotonic()
        self._due_s = max(self._due_s, now_s - 1 / _PARTS_A_SECOND) + done / self._rate
        await asyncio.sleep(max(0.0, self._due_s - now_s))
