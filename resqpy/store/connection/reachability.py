"""Whether this process can reach Redis: all its connections report here, and each change is reported once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.errors import OutcomeUnknown, StoreError, StoreUnavailable

QUIET_S = 3.0  # without a refusal, until a Redis that refused commands counts as available again


@dataclass(frozen=True, slots=True)
class Away:
    """Redis can't be reached, or refuses commands.

    Attributes:
        refused: it answered, but refused.
        within_s: how long the startup waits; None: running roles retry until it is back.
    """

    error: StoreError
    refused: bool = False
    within_s: float | None = None


@dataclass(frozen=True, slots=True)
class Back:
    """Redis is available again.

    Attributes:
        away_s: for how long it was not.
    """

    away_s: float


Listener = Callable[[Away | Back], None]


class Reachability:
    """The state of one Redis as reported by its connections, from any thread.

    Attributes:
        away: it is unavailable; check this before calling `answered`, which costs more.
    """

    def __init__(self) -> None:
        self.away: bool = False
        self._lock = threading.Lock()
        self._listeners: list[Listener] = []
        self._since_s = self._last_s = self._back_s = 0.0
        self._refuses = False
        self._within_s: float | None = None

    def listen(self, listener: Listener) -> None:
        """Call a listener at each change, in the thread that noticed it."""
        self._listeners.append(listener)

    def starting(self, within_s: float | None) -> None:
        """A startup waits this long; None: no longer."""
        self._within_s = within_s

    def failed(
        self, error: StoreError, *, refused: bool = False, begun_s: float | None = None
    ) -> None:
        """A command failed.

        Args:
            refused: it answered, but refused.
            begun_s: when the command was sent, by the monotonic clock: one sent before Redis came back says
                nothing new.
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
        """A command succeeded; surely: the one that was refused before."""
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
