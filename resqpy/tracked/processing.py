"""The processing of a tracked task: its state, its lock, its events."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from resqpy.base.events import Emitter
from resqpy.tracked.errors import AlreadyFinished, LockLost
from resqpy.tracked.locks import HeldLock, LockState

FORCE_RELEASE = "force_release"
LOCK_LOST = "lock_lost"


class ProcessingState(StrEnum):
    """The state of processing."""

    ACTIVE = "active"
    FINISHING = "finishing"
    FINISHED = "finished"
    LOCK_LOST = "lock_lost"


@dataclass(frozen=True, slots=True)
class Finished:
    """The content of the event `finished`.

    Attributes:
        result: `complete`, `fail`, `retry`, `defer`, `release`, `delete`, `veto`, `force_release` or
            `lock_lost`.
        delay_ms: how long until the task is processed again, if known.
    """

    result: str
    error: BaseException | None = None
    delay_ms: int | None = None


class Processing(Emitter):
    """The processing of one delivery.

    Attributes:
        finished: how it ended; None: it has not.
        disabled: the task was disabled meanwhile.
        loop: the event loop on which it runs.
    """

    EVENTS: ClassVar[frozenset[str]] = frozenset(
        {"finished", "state_changed", "lock_renewed", "lock_lost", "disabled", "inactive"}
    )

    def __init__(self, *, disabled: bool) -> None:
        super().__init__()
        self.state = ProcessingState.ACTIVE
        self.finished: Finished | None = None
        self.disabled: bool = disabled
        self.loop = asyncio.get_running_loop()
        self._lock: HeldLock | None = None

    @property
    def busy(self) -> bool:
        """Whether it is in progress."""
        return self.state in (ProcessingState.ACTIVE, ProcessingState.FINISHING)

    @property
    def locked(self) -> bool:
        """Whether the lock is certainly ours."""
        return self.busy and self._lock is not None and self._lock.valid

    def check(self) -> None:
        """Raise unless something may still be written.

        Raises:
            AlreadyFinished, LockLost: it may not.
        """
        if self.state is ProcessingState.FINISHED:
            raise AlreadyFinished
        if self._lock is not None and not self._lock.valid:
            self.lose()
        if self.state is ProcessingState.LOCK_LOST:
            raise LockLost

    def change(self, state: ProcessingState) -> None:
        """Change the state."""
        self.state = state
        self.emit("state_changed", state)

    def not_written(self) -> None:
        """The finishing write failed: processing continues."""
        if self.state is ProcessingState.FINISHING:
            self.change(ProcessingState.ACTIVE)

    # -- the lock --

    def hold(self, lock: HeldLock) -> None:
        """The lock that was taken; it expires unless it is renewed."""
        self._lock = lock

    @property
    def lock_until_s(self) -> float:
        """When the lock expires, by our monotonic clock."""
        return 0.0 if self._lock is None else self._lock.until_s

    def lose_if_over(self) -> bool:
        """Whether it is in progress and has its lock."""
        if self.busy and not self.locked:
            self.lose()
        return self.busy

    def learned(self, state: LockState, renewed: bool) -> None:
        """Process what Redis says about the lock."""
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
        """The lock is no longer ours."""
        self._end(ProcessingState.LOCK_LOST, Finished(LOCK_LOST), "lock_lost", "inactive")

    def over(self, finished: Finished) -> None:
        """It is finished."""
        self._end(ProcessingState.FINISHED, finished, "inactive")

    def _end(self, state: ProcessingState, finished: Finished, *events: str) -> None:
        if not self.busy:
            return
        self.finished = finished
        self._lock = None
        self.change(state)
        self.emit("finished", finished)
        for event in events:
            self.emit(event)
        self._listeners.clear()  # nothing follows
