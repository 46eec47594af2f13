"""A time that several steps share: what one has used, those behind it have not."""

from __future__ import annotations

import asyncio

_LEAST_S = 0.05  # for what needs only a pass or two of the loop


class Deadline:
    """The end of a time that begins now.

    Args:
        seconds: how long it is.
    """

    def __init__(self, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._over_s = self._loop.time() + seconds

    def left(self, most_s: float) -> float:
        """How long a step may take: what is left, but no longer than `most_s`; and a moment in any case."""
        return max(_LEAST_S, min(most_s, self._over_s - self._loop.time()))
