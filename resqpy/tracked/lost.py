"""Pending tasks whose job is nowhere any more: a foreign worker took it and said nothing, somebody
deleted it, a delayed item vanished.

They are looked for by their record, the longest waiting first; those are the ones nearest to the
head of their queue, so that a look costs little however long the queue is.
"""

from __future__ import annotations

from collections.abc import Iterable

from resqpy.base import codec
from resqpy.base.model import FailedJob
from resqpy.base.task_id import TASK_ID, task_id_of
from resqpy.store import workers
from resqpy.store.client import Arg, Store
from resqpy.tracked import records, settling
from resqpy.tracked.ending import Ending, EndKind
from resqpy.tracked.failed_entries import entries_of, tells
from resqpy.tracked.record import Record, TaskError
from resqpy.tracked.status import TaskStatus
from resqpy.tracked.transitions import apply


async def recover_lost(
    store: Store, now_us: int, lost_after_ms: int, most: int, fence: settling.Fence = ()
) -> int:
    """Find tasks that have been pending for long without a job, and settle them; how many.

    Args:
        fence: what must hold when one is settled: it is decided by more than the task's record.
    """
    keys, now_ms = store.keys, now_us // 1000
    ids = await records.ids_until(store, keys.tasks_pending, now_ms - lost_after_ms, most)
    suspects = [each for each in await records.get_many(store, ids) if each is not None]
    missing = [record for record in suspects if not await _waits(store, record)]
    if missing:
        worked = await _worked_on(store, {record.id for record in missing})
        missing = [record for record in missing if record.id not in worked]
    entries = await _told(store, missing) if missing else {}
    # a job that somebody put back while we looked elsewhere is in its queue by now
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
    pairs: list[Arg] = []
    for text in dict.fromkeys([records.job_of(record), *texts]):
        pairs += (text, store.keys.timestamps(text))
    found = await store.run("task_sought", [store.keys.queue(queue), store.keys.delayed("")], pairs)
    return bool(found)


async def _worked_on(store: Store, ids: set[str]) -> set[str]:
    """Those of the ids whose job some worker, of any language, has in hand."""
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
    """What foreign workers left in the failed list of these tasks, the latest of each."""
    sought = {record.id: record for record in missing}
    found = entries_of(store, sought)
    return {task_id: entry async for task_id, entry in found if tells(sought[task_id], entry)}


async def _settle(
    store: Store, record: Record, entry: FailedJob | None, now_us: int, fence: settling.Fence
) -> bool:
    """A task without a job: it failed elsewhere, or nobody knows."""
    if entry is None:
        return await settling.recover(store, record, now_us, fence=fence) is not None
    error = TaskError(
        entry.exception or "Error", entry.error or "", backtrace=tuple(entry.backtrace)
    )
    change = apply(record, Ending(EndKind.FAIL, now_us, error=error))
    return await settling.step(store, change, fence=fence)
