"""The lock on a tracked task: in Redis, and as seen by the process that runs the task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from resqpy.base.clock import Clock
from resqpy.base.keys import Keys
from resqpy.store.connection.client import Arg, Store
from resqpy.tracked import record_fields
from resqpy.tracked.record import LOCK_MS, Record
from resqpy.tracked.records import type_json

RENEW_AFTER = 2 / 3  # of its duration; irontask's ratio
REFRESH_S = 5.0  # between checks whether a task was disabled; irontask's interval


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """Result of a claim.

    Attributes:
        ours: we run the task; the record has our lock.
        record: None: there is none.
        now_us: Redis' time.
        asked_s: when it was requested, by the worker's monotonic clock; see `HeldLock`.
    """

    ours: bool
    record: Record | None
    now_us: int = 0
    asked_s: float = 0.0


async def claim(
    store: Store, task_id: str, kind: str, token: str, asked_s: float = 0.0
) -> ClaimResult:
    """Claim a task whose job we received, if it is due and nobody else has it. One round trip."""
    keys = store.keys
    names = [keys.task(task_id), *claim_keys(keys)]
    args: list[Arg] = [task_id, kind, token, LOCK_MS, keys.events, type_json(kind)]
    reply = await store.run("task_claim", names, args)
    return (
        ClaimResult(ours=False, record=None) if not reply else read_claim(task_id, reply, asked_s)
    )


def claim_keys(keys: Keys) -> tuple[str, ...]:
    """The keys a claim needs besides the record."""
    return (keys.task_locks, keys.tasks_scheduled, keys.tasks_pending, keys.tasks_by(""))


def read_claim(task_id: str, reply: Sequence[Any], asked_s: float) -> ClaimResult:
    """Parse the result of `lua/task_take.lua`."""
    ours, now_us, flat = reply
    return ClaimResult(bool(ours), record_fields.from_flat(task_id, flat), int(now_us), asked_s)


@dataclass(frozen=True, slots=True)
class Held:
    """A lock of ours.

    Attributes:
        lasts_ms: its new duration from now on; 0: only read its state.
    """

    task_id: str
    token: str
    lasts_ms: int


class LockState(IntEnum):
    """The state of a lock of ours."""

    LOST = 0
    HELD = 1
    HELD_DISABLED = 2


async def renew(store: Store, held: Sequence[Held]) -> list[LockState]:
    """Renew locks, and find out which are lost and which tasks were disabled. One round trip."""
    keys = store.keys
    args: list[Arg] = []
    for each in held:
        args += (each.task_id, each.token, each.lasts_ms)
    names = [keys.task_locks, *(keys.task(each.task_id) for each in held)]
    return [LockState(state) for state in await store.run("task_renew", names, args)]


class HeldLock:
    """One lock of ours. The thread that renews locks writes it; the event loop reads it.

    Its expiry is kept by our monotonic clock and counted from before the request, so we never believe to
    have it longer than Redis does.

    Args:
        tell: called on the event loop with new information.
    """

    def __init__(
        self, claim: ClaimResult, clock: Clock, tell: Callable[[LockState, bool], None]
    ) -> None:
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
        """Whether it is certainly ours."""
        return self._clock.monotonic() < self.until_s

    @property
    def renewable(self) -> bool:
        """Whether it may be renewed: the longest execution time ends that."""
        return self._renew_before_s is None or self.until_s < self._renew_before_s

    @property
    def due_s(self) -> float:
        """When Redis is to be asked next."""
        return min(self._renew_at_s, self._look_at_s) if self.renewable else self._look_at_s

    def ask(self, now_s: float) -> Held:
        """The next request to Redis."""
        renew = self.renewable and now_s >= self._renew_at_s
        return Held(self.task_id, self.token, int(self._lasts_s * 1000) if renew else 0)

    def heard(self, asked: Held, state: LockState, asked_s: float) -> None:
        """Process Redis' answer, in any thread."""
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
            return  # the loop is closed: nobody is interested

    def postpone(self, now_s: float) -> None:
        """Redis could not be reached: retry soon."""
        again_s = now_s + min(0.5, self._lasts_s / 10)
        self._renew_at_s = max(self._renew_at_s, again_s)
        self._look_at_s = max(self._look_at_s, again_s)
