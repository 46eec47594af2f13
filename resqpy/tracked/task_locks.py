"""Taking a tracked task, and keeping the locks of those that run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from resqpy.base.keys import Keys
from resqpy.store.client import Arg, Store
from resqpy.tracked import record_fields
from resqpy.tracked.record import LOCK_MS, Record
from resqpy.tracked.records import type_json


@dataclass(frozen=True, slots=True)
class Claim:
    """What came of it.

    Attributes:
        ours: we run the task; the record has our lock.
        record: None: there is none.
        now_us: Redis' time.
        asked_s: before it was asked, by the worker's clock that never steps; see `HeldLock`.
    """

    ours: bool
    record: Record | None
    now_us: int = 0
    asked_s: float = 0.0


async def claim(store: Store, task_id: str, kind: str, token: str, asked_s: float = 0.0) -> Claim:
    """Take a task whose job was given to us, if it is due and nobody has it. One round trip."""
    keys = store.keys
    names = [keys.task(task_id), *claim_keys(keys)]
    args: list[Arg] = [task_id, kind, token, LOCK_MS, keys.events, type_json(kind)]
    reply = await store.run("task_claim", names, args)
    return Claim(ours=False, record=None) if not reply else read_claim(task_id, reply, asked_s)


def claim_keys(keys: Keys) -> tuple[str, ...]:
    """What a claim needs besides the record."""
    return (keys.task_locks, keys.tasks_scheduled, keys.tasks_pending, keys.tasks_by(""))


def read_claim(task_id: str, reply: Sequence[Any], asked_s: float) -> Claim:
    """What `lua/task_take.lua` returned."""
    ours, now_us, flat = reply
    return Claim(bool(ours), record_fields.from_flat(task_id, flat), int(now_us), asked_s)


@dataclass(frozen=True, slots=True)
class Held:
    """A lock of ours.

    Attributes:
        lasts_ms: how long it is to last from now on; 0: leave it, just look.
    """

    task_id: str
    token: str
    lasts_ms: int


class LockState(IntEnum):
    """How a lock of ours is."""

    LOST = 0
    HELD = 1
    HELD_DISABLED = 2


async def renew(store: Store, held: Sequence[Held]) -> list[LockState]:
    """Renew locks, and learn which are lost and which tasks were disabled. One round trip."""
    keys = store.keys
    args: list[Arg] = []
    for each in held:
        args += (each.task_id, each.token, each.lasts_ms)
    names = [keys.task_locks, *(keys.task(each.task_id) for each in held)]
    return [LockState(state) for state in await store.run("task_renew", names, args)]
