"""Cleanup of abandoned tasks: steps taken by whoever comes across one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence

from resqpy.base import failed_entries
from resqpy.base.clock import failed_at_utc
from resqpy.base.codec import task_id_of
from resqpy.base.foreign_time import moment_of
from resqpy.base.keys import FAILED
from resqpy.base.model import FailedJob
from resqpy.engine.outcome import Command
from resqpy.engine.worker.identity import incarnation_of
from resqpy.store import failures
from resqpy.store.connection.client import Store
from resqpy.tracked import records
from resqpy.tracked.checks import new_task_id
from resqpy.tracked.record import Record, TaskStatus
from resqpy.tracked.transitions import ZOMBIE, Change, due, ended_unrun, expired, revived

_STEP = 500
Fence = Sequence[Command]


async def entries_of(store: Store, ids: Collection[str]) -> AsyncIterator[tuple[str, FailedJob]]:
    """Id and entry of failed tasks that nobody has retried: Ruby's `requeue` leaves them, marked. Costs one
    round trip per 500 entries of the failed list.
    """
    at = 0
    while entries := await failures.page(store, FAILED, at, at + _STEP - 1):
        for entry in entries:
            task_id = task_id_of(entry.args)
            if task_id in ids and entry.retried_at is None:
                assert task_id is not None
                yield task_id, entry
        at += _STEP


def tells(record: Record, entry: FailedJob) -> bool:
    """Whether a foreign worker wrote an entry about a waiting task, and not about an earlier run: entries
    of our workers are known from the record. Their times are whole seconds.
    """
    if entry.exception == ZOMBIE or incarnation_of(entry.worker or "") is not None:
        return False
    before_ms = 0 if record.last_run is None else record.last_run.finish_ms
    failed_ms = moment_of(entry.failed_at)
    return failed_ms is None or failed_ms + 999 >= max(record.next_run_ms or 0, before_ms)


async def step(
    store: Store,
    change: Change,
    *,
    place: bool = True,
    fence: Fence = (),
    more: Sequence[Command] = (),
) -> bool:
    """Write a step, and more commands with it, if the record has not changed."""
    assert change.before is not None
    version = records.same_version(store, change.before)
    commands = [*fence, version, *more, *placed(store, change, place=place)]
    return await records.write(store, commands)


def placed(store: Store, change: Change, *, place: bool = True) -> list[Command]:
    """The commands of a step; tasks with an earlier start are placed further ahead in their queue."""
    commands = records.end_commands(store, change, place=place)
    after = change.after
    if after is None or after.next_run_ms is None or after.next_run_ms * 1000 >= after.updated_us:
        return commands
    return records.place_by_start(store, commands, after)


async def fall_due(store: Store, record: Record, now_us: int) -> bool:
    """A scheduled task is due. If its time is not a whole second, its job is still in the delayed list:
    move it to its queue now. If its end has passed, it runs no more.
    """
    if record.past_end(now_us // 1000):
        return await end_unrun(store, record, now_us)
    commands: list[Command] = [records.same_version(store, record)]
    if record.next_run_ms is not None and record.next_run_ms % 1000:
        commands.append(records.hasten_command(store, record))
    commands += records.end_commands(store, due(record, now_us), place=False)
    return await records.write(store, commands)


async def recover(
    store: Store, record: Record, now_us: int, *, place: bool = True, fence: Fence = ()
) -> Record | None:
    """Finish a run whose worker is gone, by its record; returns the new record, None if there is none or
    somebody else was faster.

    Args:
        place: put its job into its queue, if it is to run again.
        fence: an additional condition.
    """
    change = expired(record, now_us, new_task_id() if record.retries.linked else "")
    unchanged = (records.same_version(store, record), records.same_term(store, record))
    commands: list[Command] = [*fence, *unchanged]
    if _failed_now(record, change):
        commands += _entry(store, record, change)
    commands += placed(store, change, place=place)
    if place and record.status is TaskStatus.PENDING and change.after is not None:
        commands += records.place_again(store, change.after, now_us // 1000)
    return change.after if await records.write(store, commands) else None


def _failed_now(record: Record, change: Change) -> bool:
    """Whether this step is the failure, and not one that was already written with its entry."""
    after = change.after
    return record.ending is None and after is not None and after.entry and after.runs > record.runs


def _entry(store: Store, record: Record, change: Change) -> list[Command]:
    """The failed entry of a run whose outcome is unknown."""
    assert change.after is not None
    error = change.after.error
    worker = "" if record.lock is None else record.lock.token.rpartition("#")[0]
    entry = failed_entries.encode(
        job_json=records.job_of(record),
        queue=records.queue_of(record),
        worker=worker,
        exception="" if error is None else error.name,
        error="" if error is None else error.message,
        backtrace=[] if error is None else list(error.backtrace),
        failed_at=failed_at_utc(change.after.updated_us // 1000),
    )
    return [failures.push_command(store, entry)]


async def end_unrun(store: Store, record: Record, now_us: int, *, place: bool = True) -> bool:
    """Its end has passed while it waited; False if somebody else was faster."""
    change = ended_unrun(record, now_us)
    entry = _entry(store, record, change) if _failed_now(record, change) else ()
    return await step(store, change, place=place, more=entry)


async def revive(store: Store, record: Record, now_us: int) -> bool:
    """Let a failed task run once more, if its failed entry is gone or marked as retried."""
    async for _ in entries_of(store, [record.id]):
        return False
    return await step(store, revived(record, now_us), place=False)


async def forgotten(store: Store, record: Record) -> list[Command]:
    """The commands that remove a failed task from the failed list, so that it is not retried there."""
    failed = store.keys.failed
    return [("LREM", failed, 1, entry.raw) async for _, entry in entries_of(store, [record.id])]
