"""What the leader does for tracked tasks; each part works in batches, and is repeated after a crash.

- Scheduled tasks that are due become pending.
- Runs whose lock has expired are retried, or end as `zombieTaskCleaned`.
- Pending tasks whose job is missing (a foreign worker took it and reported nothing, somebody deleted it)
  are treated alike.
- Records whose retention is over are removed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence

from resqpy.base import codec
from resqpy.base.codec import TASK_ID, task_id_of
from resqpy.base.model import FailedJob
from resqpy.engine.scheduler.election import Leadership, Scope
from resqpy.store import workers
from resqpy.store.connection.client import Arg, Store
from resqpy.store.leader import fenced
from resqpy.tracked import claiming, records
from resqpy.tracked.claiming import entries_of, tells
from resqpy.tracked.record import Record, RunEnd, RunEndKind, TaskError, TaskStatus
from resqpy.tracked.transitions import Change, apply

BATCH = 200
LOST_AFTER_MS = 300_000
_MAX_SEARCHED = 50  # tasks whose job is searched for at a time
_SHORTEST_S = 0.05
_MAX_PER_QUERY = 1000  # tasks that a query updates before it searches


async def recover_lost(
    store: Store, now_us: int, lost_after_ms: int, most: int, fence: claiming.Fence = ()
) -> int:
    """Find tasks that have long been pending without a job, and handle them; returns how many.

    A foreign worker took the job and reported nothing, somebody deleted it, a delayed item vanished. They
    are searched for by their record, the longest waiting first; those should be nearest to the head of
    their queue, so that a search is cheap however long the queue is.

    Args:
        fence: an additional condition, because the decision depends on more than the task's record.
    """
    keys, now_ms = store.keys, now_us // 1000
    ids = await records.ids_until(store, keys.tasks_pending, now_ms - lost_after_ms, most)
    suspects = [each for each in await records.get_many(store, ids) if each is not None]
    missing = [record for record in suspects if not await _waits(store, record)]
    if missing:
        worked = await _worked_on(store, {record.id for record in missing})
        missing = [record for record in missing if record.id not in worked]
    entries = await _told(store, missing) if missing else {}
    # a job that somebody put back meanwhile is in its queue by now
    missing = [record for record in missing if not await _waits(store, record)]
    looked = {record.id for record in suspects} - {record.id for record in missing}
    if looked:
        scores: list[Arg] = [word for each in looked for word in (now_ms, each)]
        await store.call("ZADD", keys.tasks_pending, "XX", *scores)
    done = 0
    for record in missing:
        done += await _settle(store, record, entries.get(record.id), now_us, fence)
    return done


async def _waits(store: Store, record: Record) -> bool:
    """Whether a task's job is in its queue or in the delayed list, in any spelling."""
    if record.status is not TaskStatus.PENDING:
        return True
    payload = codec.decode_text(record.payload if record.sent is None else record.sent)
    queue = records.queue_of(record)
    texts = codec.spellings(record.type, queue, [{**payload, TASK_ID: record.id}])
    pairs: list[Arg] = [queue]
    for text in dict.fromkeys([records.job_of(record), *texts]):
        pairs += (text, store.keys.timestamps(text))
    keys = store.keys
    names = [keys.queue(queue), keys.delayed(""), keys.parked, keys.limit_notes]
    found = await store.run("task_sought", names, pairs)
    return bool(found)


async def _worked_on(store: Store, ids: set[str]) -> set[str]:
    """Those of the ids whose job is being run by a worker of any language."""
    found: set[str] = set()
    for record in await workers.records(store, await workers.ids(store)):
        data = None if record is None else codec.decode_lenient(record)
        payload = data.get("payload") if isinstance(data, dict) else None
        args = payload.get("args") if isinstance(payload, dict) else None
        task_id = task_id_of(args) if isinstance(args, list) else None
        if task_id in ids:
            found.add(task_id)
    return found


async def _told(store: Store, missing: Iterable[Record]) -> dict[str, FailedJob]:
    """What foreign workers wrote to the failed list about these tasks, the latest of each."""
    sought = {record.id: record for record in missing}
    found = entries_of(store, sought)
    return {task_id: entry async for task_id, entry in found if tells(sought[task_id], entry)}


async def _settle(
    store: Store, record: Record, entry: FailedJob | None, now_us: int, fence: claiming.Fence
) -> bool:
    """Handle a task without a job: it failed elsewhere, or its state is unknown."""
    if entry is None:
        return await claiming.recover(store, record, now_us, fence=fence) is not None
    error = TaskError(
        entry.exception or "Error", entry.error or "", backtrace=tuple(entry.backtrace)
    )
    change = apply(record, RunEnd(RunEndKind.FAIL, now_us, error=error))
    return await claiming.step(store, change, fence=fence)


async def settle_due(store: Store, most: int = _MAX_PER_QUERY) -> int:
    """Update the records with what has changed by time alone; returns how many were changed.

    One round trip if there is nothing to do. The time is Redis'.
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
        done += await _each(
            store, keys.tasks_scheduled, ids, lambda record: _due(store, record, now_us)
        )
    if _passed(over, now_us):
        ids = await records.ids_until(store, keys.task_locks, now_us // 1000, most)
        done += await _each(
            store, keys.task_locks, ids, lambda record: _expired(store, record, now_us)
        )
    return done


def _passed(first: list[bytes], now_us: int) -> bool:
    """Whether the earliest time in a sorted set has passed."""
    return bool(first) and float(first[1]) <= now_us // 1000


async def _each(
    store: Store, key: str, ids: list[str], function: Callable[[Record], Awaitable[bool]]
) -> int:
    """Apply a function to each record that a sorted set names; returns how often it succeeded."""
    done = 0
    for start in range(0, len(ids), BATCH):
        part = ids[start : start + BATCH]
        found = await records.get_many(store, part)
        if gone := [each for each, record in zip(part, found, strict=True) if record is None]:
            await store.call("ZREM", key, *gone)  # somebody deleted the record's key
        for record in found:
            if record is not None:
                done += await function(record)
    return done


async def _due(store: Store, record: Record, now_us: int) -> bool:
    """A scheduled task is due."""
    if record.status is not TaskStatus.SCHEDULED or (record.next_run_ms or 0) > now_us // 1000:
        return False
    return await claiming.fall_due(store, record, now_us)


async def _expired(store: Store, record: Record, now_us: int) -> bool:
    """The lock of a run has expired."""
    if not record.left_alone(now_us // 1000):
        return False
    return await claiming.recover(store, record, now_us) is not None


async def remove_old(store: Store, now_ms: int, most: int = BATCH) -> int:
    """Remove records whose retention is over; returns how many."""
    ids = await records.ids_until(store, store.keys.tasks_expiring, now_ms - 1, most)

    async def remove(record: Record) -> bool:
        if record.retain_until_ms is None or record.retain_until_ms >= now_ms:
            return False
        return await claiming.step(store, Change(record, None))

    return await _each(store, store.keys.tasks_expiring, ids, remove)


class TrackedChore:
    """The leader's part, as a chore.

    Its steps only succeed if the record is unchanged, so most need no fence: queries execute some of them
    as well. Whether a job is missing does not depend on the record alone: those steps only succeed for the
    leader.

    Args:
        lost_after_ms: how long a task may be pending without a job before that counts as an attempt with
            unknown outcome.
        pause_s: the longest time between two checks.
    """

    name = "tracked"
    scope: Scope = "own"
    prefixes: Sequence[str] = ()

    def __init__(
        self, store: Store, lost_after_ms: int = LOST_AFTER_MS, pause_s: float = 5.0
    ) -> None:
        self._store = store
        self._lost_after_ms = lost_after_ms
        self._pause_s = pause_s

    async def run(self, leadership: Leadership) -> float | None:
        """Do what is to be done now; returns the seconds until the next check."""
        fence = [("LEADS", key, leadership.token) for key in leadership.fence]
        with fenced():
            return await self.look(leadership.clock.now_us(), fence)

    async def look(self, now_us: int, fence: claiming.Fence = ()) -> float:
        """One check; returns the seconds until the next."""
        settled = await settle_due(self._store, BATCH)
        lost = await recover_lost(self._store, now_us, self._lost_after_ms, _MAX_SEARCHED, fence)
        removed = await remove_old(self._store, now_us // 1000, BATCH)
        if max(settled, removed) >= BATCH or lost >= _MAX_SEARCHED:
            return 0.0
        return await self._until_next(now_us // 1000)

    async def _until_next(self, now_ms: int) -> float:
        """Seconds until something is due, as far as known."""
        keys = self._store.keys
        heads = await self._store.pipeline(
            [
                ("ZRANGE", key, 0, 0, "WITHSCORES")
                for key in (keys.tasks_scheduled, keys.task_locks, keys.tasks_expiring)
            ]
        )
        waits = [(float(head[1]) - now_ms) / 1000 + 0.01 for head in heads if head]
        return min([self._pause_s, *(max(wait, _SHORTEST_S) for wait in waits)])
