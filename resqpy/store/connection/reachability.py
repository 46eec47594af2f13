"""Whether this process has its Redis: all its connections report here, and each change is told once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.errors import OutcomeUnknown, StoreError, StoreUnavailable

QUIET_S = 3.0  # without a refusal, until a Redis that answered by one counts as being back


@dataclass(frozen=True, slots=True)
class Away:
    """Redis can't be reached, or refuses to work.

    Attributes:
        refused: it answered, and did not do it.
        within_s: for how long the start waits; None: who is at work tries until it is back.
    """

    error: StoreError
    refused: bool = False
    within_s: float | None = None


@dataclass(frozen=True, slots=True)
class Back:
    """It is there again.

    Attributes:
        away_s: for how long it was not.
    """

    away_s: float


Listener = Callable[[Away | Back], None]


class Reachability:
    """What the connections to one Redis say of it, from whatever thread.

    Attributes:
        away: it is not there; asked before `answered` is called, which costs more.
    """

    def __init__(self) -> None:
        self.away: bool = False
        self._lock = threading.Lock()
        self._listeners: list[Listener] = []
        self._since_s = self._last_s = self._back_s = 0.0
        self._refuses = False
        self._within_s: float | None = None

    def listen(self, listener: Listener) -> None:
        """Tell of each change; called in the thread that noticed it."""
        self._listeners.append(listener)

    def starting(self, within_s: float | None) -> None:
        """A start waits for so long; None: no more."""
        self._within_s = within_s

    def failed(
        self, error: StoreError, *, refused: bool = False, begun_s: float | None = None
    ) -> None:
        """Something could not be done.

        Args:
            refused: it answered, and did not do it.
            begun_s: when that was begun, by the clock that never steps: what was begun before it came
                back says nothing new.
        """
        if not isinstance(error, StoreUnavailable | OutcomeUnknown):
            return
        with self._lock:
            if begun_s is not None and begun_s <= self._back_s and not self.away:
                return
            before, self.away = self.away, True
            self._last_s = SYSTEM_CLOCK.monotonic()
            if not before:
                self._since_s = self._last_s
            self._refuses = refused
        if not before:
            self._tell(Away(error, refused, self._within_s))

    def answered(self, *, surely: bool = False) -> None:
        """Something was done; surely: just what was refused before."""
        with self._lock:
            now_s = SYSTEM_CLOCK.monotonic()
            if not self.away or (self._refuses and not surely and now_s - self._last_s < QUIET_S):
                return
            self.away, self._back_s = False, now_s
            away_s = now_s - self._since_s
        self._tell(Back(away_s))

    def _tell(self, change: Away | Back) -> None:
        for listener in self._listeners:
            listener(change)
