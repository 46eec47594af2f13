"""What the leader does for tracked tasks; each part is done in batches, and again after a crash.

- Scheduled tasks whose time has come are pending.
- Runs whose lock has ended are tried again, or end as `zombieTaskCleaned`.
- Pending tasks whose job is nowhere any more (a foreign worker took it and said nothing, somebody
  deleted it) are treated alike.
- Records whose retention is over are removed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from resqpy.base.task_record import Record
from resqpy.base.task_status import TaskStatus
from resqpy.engine.tracked import settling, transitions
from resqpy.engine.tracked.transitions import Change
from resqpy.store import records
from resqpy.store.client import Store

BATCH = 200
_MOST_PER_QUERY = 1000  # tasks that a query settles before it looks
_HELD = (TaskStatus.RUNNING, TaskStatus.DISABLING)


async def settle_due(store: Store, most: int = _MOST_PER_QUERY) -> int:
    """Let the records say what time alone has changed; how many were changed.

    One round trip where there is nothing to do. The time is Redis'.
    """
    keys = store.keys
    time, due, over = await store.pipeline(
        [
            ("TIME",),
            ("ZRANGE", keys.tasks_scheduled, 0, 0, "WITHSCORES"),
            ("ZRANGE", keys.task_locks, 0, 0, "WITHSCORES"),
        ]
    )
    now_us = int(time[0]) * 1_000_000 + int(time[1])
    done = 0
    if _passed(due, now_us):
        ids = await records.ids_until(store, keys.tasks_scheduled, now_us // 1000, most)
        done += await _each(store, ids, lambda record: _due(store, record, now_us))
    if _passed(over, now_us):
        ids = await records.ids_until(store, keys.task_locks, now_us // 1000, most)
        done += await _each(store, ids, lambda record: _expired(store, record, now_us))
    return done


def _passed(first: list[bytes], now_us: int) -> bool:
    """Whether the first of a sorted set of times has come."""
    return bool(first) and float(first[1]) <= now_us // 1000


async def _each(store: Store, ids: list[str], function: Callable[[Record], Awaitable[bool]]) -> int:
    """Do something with each record; how often it was done."""
    done = 0
    for start in range(0, len(ids), BATCH):
        found = await records.get_many(store, ids[start : start + BATCH])
        for record in found:
            if record is not None:
                done += await function(record)
    return done


async def _due(store: Store, record: Record, now_us: int) -> bool:
    """The time of a scheduled task has come; its job is where it was."""
    if record.status is not TaskStatus.SCHEDULED or (record.next_run_ms or 0) > now_us // 1000:
        return False
    return await settling.step(store, transitions.due(record, now_us), place=False)


async def _expired(store: Store, record: Record, now_us: int) -> bool:
    """The lock of a run has ended."""
    if record.status not in _HELD or record.lock is None:
        return False
    if record.lock.until_ms > now_us // 1000:
        return False
    return await settling.recover(store, record, now_us) is not None


async def remove_old(store: Store, now_ms: int, most: int = BATCH) -> int:
    """Remove records whose retention is over; how many."""
    ids = await records.ids_until(store, store.keys.tasks_expiring, now_ms - 1, most)

    async def remove(record: Record) -> bool:
        if record.retain_until_ms is None or record.retain_until_ms >= now_ms:
            return False
        return await settling.step(store, Change(record, None))

    return await _each(store, ids, remove)
