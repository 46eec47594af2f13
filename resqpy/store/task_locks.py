"""Taking a tracked task, and keeping the locks of those that run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from resqpy.base.keys import Keys
from resqpy.base.task_record import LOCK_MS, Record
from resqpy.store import record_fields
from resqpy.store.client import Arg, Store
from resqpy.store.records import type_json


@dataclass(frozen=True, slots=True)
class Claim:
    """What came of it.

    Attributes:
        ours: we run the task; the record has our lock.
        record: None: there is none.
        now_us: Redis' time.
    """

    ours: bool
    record: Record | None
    now_us: int = 0


async def claim(store: Store, task_id: str, kind: str, token: str) -> Claim:
    """Take a task whose job was given to us, if it is due and nobody has it. One round trip."""
    keys = store.keys
    names = [keys.task(task_id), *_cached_keys(keys, kind)]
    event = _RUNNING % (task_id.encode(), type_json(kind))
    args: list[Arg] = [task_id, token, kind, f":type:{kind}", LOCK_MS, event, keys.events]
    reply = await store.run("task_claim", names, args)
    if not reply:
        return Claim(ours=False, record=None)
    ours, now_us, flat = reply
    return Claim(bool(ours), record_fields.from_flat(task_id, flat), int(now_us))


_RUNNING = b'{"type":"task_running","content":{"id":"%s","functionName":%s,"status":"running"}}'


def _claim_keys(keys: Keys, kind: str) -> tuple[str, ...]:
    """The sets that a claim changes."""
    return (
        keys.task_locks,
        keys.tasks_scheduled,
        keys.tasks_pending,
        keys.tasks_by("modified"),
        keys.tasks_by("modified", "type", kind),
        keys.tasks_by("status", ""),
    )


_cached_keys = lru_cache(maxsize=4096)(_claim_keys)


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
