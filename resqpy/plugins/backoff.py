"""How long a failed job waits before it is tried again: a pure rule."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from resqpy.base.errors import UsageError
from resqpy.base.when import duration_ms

EXPONENTIAL = "exponential"
MOST_MS = 86_400_000  # where doubling ends: a day


@dataclass(frozen=True, slots=True)
class Backoff:
    """The delays of one task's retries.

    Attributes:
        steps_ms: the delay after each failed attempt; the last one is for all that follow.
        doubling: the one step is doubled from attempt to attempt, up to a day.
        jitter: up to which share of itself a delay is lengthened at random.
    """

    steps_ms: tuple[int, ...]
    doubling: bool = False
    jitter: float = 0.0

    @classmethod
    def of(cls, delay: object, strategy: object, jitter: object) -> Backoff:
        """From Retry's options.

        Raises:
            UsageError: what is wrong with which of them.
        """
        if isinstance(jitter, bool) or not isinstance(jitter, (int, float)) or not 0 <= jitter <= 1:
            raise UsageError(f"retry_jitter: {jitter!r} is not a share between 0 and 1")
        delay_ms = duration_ms(delay, "retry_delay")  # type: ignore[arg-type]  # it checks the type
        if strategy is None or strategy == EXPONENTIAL:
            return cls((delay_ms,), strategy == EXPONENTIAL, float(jitter))
        if isinstance(strategy, str) or not isinstance(strategy, Sequence) or not strategy:
            raise UsageError(
                f"backoff_strategy: {strategy!r} is neither a list of milliseconds with at least "
                f"one nor {EXPONENTIAL!r}"
            )
        steps = tuple(duration_ms(step, "backoff_strategy") for step in strategy)
        return cls(steps, jitter=float(jitter))

    def delay_ms(self, count: int) -> int:
        """The delay after failed attempt number `count`, from 0."""
        base = self._base_ms(count)
        return base + int(base * self.jitter * random.random())

    def longest_ms(self, attempts: int) -> int:
        """The longest that so many attempts can have."""
        base = max(self._base_ms(count) for count in range(attempts))
        return base + int(base * self.jitter)

    def _base_ms(self, count: int) -> int:
        step = self.steps_ms[min(count, len(self.steps_ms) - 1)]
        if not self.doubling:
            return step
        return max(step, min(step << min(count, 32), MOST_MS))
