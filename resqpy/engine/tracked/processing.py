"""How far the processing of a tracked task is: its states, its lock, its events."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum

from resqpy.base.clock import Clock
from resqpy.base.errors import AlreadyFinished, LockLost
from resqpy.base.events import Emitter
from resqpy.engine.tracked.lock import HeldLock
from resqpy.store.task_locks import LockState

FORCE_RELEASE = "force_release"
LOCK_LOST = "lock_lost"


class ProcessingState(StrEnum):
    """How far processing is."""

    ACTIVE = "active"
    FINISHING = "finishing"
    FINISHED = "finished"
    LOCK_LOST = "lock_lost"


@dataclass(frozen=True, slots=True)
class Finished:
    """What the event `finished` tells.

    Attributes:
        result: `complete`, `fail`, `retry`, `defer`, `release`, `delete`, `veto`, `force_release` or
            `lock_lost`.
        delay_ms: how long until the task is processed again, where that was said.
    """

    result: str
    error: BaseException | None = None
    delay_ms: int | None = None


class Processing(Emitter):
    """The processing of one delivery.

    Attributes:
        finished: how it ended; None: it has not.
        disabled: the task was disabled since.
        loop: the event loop on which it goes on.
    """

    def __init__(self, clock: Clock, *, disabled: bool) -> None:
        super().__init__()
        self.state = ProcessingState.ACTIVE
        self.finished: Finished | None = None
        self.disabled = disabled
        self.loop = asyncio.get_running_loop()
        self._clock = clock
        self._lock: HeldLock | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def busy(self) -> bool:
        """Whether it goes on."""
        return self.state in (ProcessingState.ACTIVE, ProcessingState.FINISHING)

    @property
    def locked(self) -> bool:
        """Whether the lock is surely ours."""
        return self.busy and self._lock is not None and self._lock.valid

    def check(self) -> None:
        """Whether something may still be written.

        Raises:
            AlreadyFinished, LockLost: no.
        """
        if self.state is ProcessingState.FINISHED:
            raise AlreadyFinished
        if self._lock is not None and not self._lock.valid:
            self.lose()
        if self.state is ProcessingState.LOCK_LOST:
            raise LockLost

    def change(self, state: ProcessingState) -> None:
        """Go on to another state."""
        self.state = state
        self.emit("state_changed", state)

    def not_written(self) -> None:
        """What was to finish it was not written: it goes on."""
        if self.state is ProcessingState.FINISHING:
            self.change(ProcessingState.ACTIVE)

    # -- the lock --

    def watch(self, lock: HeldLock) -> None:
        """The lock that was taken; it ends by itself unless it is renewed."""
        self._lock = lock
        self._watch_end()

    def _watch_end(self) -> None:
        assert self._lock is not None
        left_s = max(0.0, self._lock.until_s - self._clock.monotonic())
        self._timer = self.loop.call_later(left_s + 0.001, self._look)

    def _look(self) -> None:
        if not self.busy:
            return
        if self._lock is not None and self._lock.valid:
            self._watch_end()
        else:
            self.lose()

    def learned(self, state: LockState, renewed: bool) -> None:
        """What Redis says of the lock."""
        if not self.busy:
            return
        if state is LockState.LOST:
            if self.state is ProcessingState.ACTIVE:
                self.lose()
            return
        if renewed:
            self.emit("lock_renewed")
        if state is LockState.HELD_DISABLED and not self.disabled:
            self.disabled = True
            self.emit("disabled")

    # -- the end --

    def lose(self) -> None:
        """The lock is ours no more."""
        if self.busy:
            self._end(ProcessingState.LOCK_LOST, Finished(LOCK_LOST))
            self.emit("lock_lost")
            self.emit("inactive")

    def over(self, finished: Finished) -> None:
        """It is finished."""
        if self.busy:
            self._end(ProcessingState.FINISHED, finished)
            self.emit("inactive")

    def _end(self, state: ProcessingState, finished: Finished) -> None:
        self.finished = finished
        if self._timer is not None:
            self._timer.cancel()
        self.change(state)
        self.emit("finished", finished)
