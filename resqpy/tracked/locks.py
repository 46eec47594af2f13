"""The lock on a tracked task, as the process that runs it knows it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from resqpy.base.clock import Clock
from resqpy.tracked.task_locks import Claim, Held, LockState

RENEW_AFTER = 2 / 3  # of its duration; irontask's ratio
REFRESH_S = 5.0  # between looks whether a task was disabled; irontask's interval


class HeldLock:
    """One lock of ours. The thread that renews locks writes it; the event loop reads it.

    Its end is kept by a clock of ours that never steps and counted from before we asked, so we
    never believe to have it longer than Redis does.

    Args:
        tell: called on the event loop with what was learned.
    """

    def __init__(self, claim: Claim, clock: Clock, tell: Callable[[LockState, bool], None]) -> None:
        record, asked_s = claim.record, claim.asked_s
        assert record is not None
        assert record.lock is not None
        self.task_id, self.token = record.id, record.lock.token
        self._lasts_s = record.lock_ms / 1000
        self._clock = clock
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self.until_s = asked_s + (record.lock.until_ms - claim.now_us // 1000) / 1000
        longest_ms = record.longest_ms
        self._renew_before_s = None if longest_ms is None else asked_s + longest_ms / 1000
        self._renew_at_s = asked_s + self._lasts_s * RENEW_AFTER
        self._look_at_s = asked_s + REFRESH_S

    @property
    def valid(self) -> bool:
        """Whether it is surely ours."""
        return self._clock.monotonic() < self.until_s

    @property
    def renewable(self) -> bool:
        """Whether it may be kept any longer: a longest execution time ends that."""
        return self._renew_before_s is None or self.until_s < self._renew_before_s

    @property
    def due_s(self) -> float:
        """When Redis is to be asked next."""
        return min(self._renew_at_s, self._look_at_s) if self.renewable else self._look_at_s

    def ask(self, now_s: float) -> Held:
        """What Redis is to be asked now."""
        renew = self.renewable and now_s >= self._renew_at_s
        return Held(self.task_id, self.token, int(self._lasts_s * 1000) if renew else 0)

    def heard(self, asked: Held, state: LockState, asked_s: float) -> None:
        """What Redis answered, in whichever thread."""
        self._look_at_s = asked_s + REFRESH_S
        renewed = bool(asked.lasts_ms) and state is not LockState.LOST
        if renewed:
            self.until_s = asked_s + self._lasts_s
            self._renew_at_s = asked_s + self._lasts_s * RENEW_AFTER
        elif state is LockState.LOST:
            self.until_s = min(self.until_s, asked_s)
        if renewed or state is not LockState.HELD:
            self._on_loop(state, renewed)

    def _on_loop(self, state: LockState, renewed: bool) -> None:
        try:
            self._loop.call_soon_threadsafe(self._tell, state, renewed)
        except RuntimeError:
            return  # the loop is closed: nobody wants to know

    def postpone(self, now_s: float) -> None:
        """Redis could not be asked: again soon."""
        again_s = now_s + min(0.5, self._lasts_s / 10)
        self._renew_at_s = max(self._renew_at_s, again_s)
        self._look_at_s = max(self._look_at_s, again_s)
