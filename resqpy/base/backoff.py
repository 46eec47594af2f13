"""How long to wait before the next attempt: irontask's retry options. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from resqpy.base.errors import UsageError

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
