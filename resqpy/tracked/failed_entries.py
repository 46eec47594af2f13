"""What the failed list has of tracked tasks. To look costs what the list is long, 500 a round trip."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection

from resqpy.base.foreign_time import moment_of
from resqpy.base.keys import FAILED
from resqpy.base.model import FailedJob
from resqpy.base.task_id import task_id_of
from resqpy.engine.identity import incarnation_of
from resqpy.store import failures
from resqpy.store.client import Store
from resqpy.tracked.record import Record
from resqpy.tracked.transitions import ZOMBIE

_STEP = 500


async def entries_of(store: Store, ids: Collection[str]) -> AsyncIterator[tuple[str, FailedJob]]:
    """Id and entry of tasks that nobody has retried since: Ruby's `requeue` leaves them, marked."""
    at = 0
    while entries := await failures.page(store, FAILED, at, at + _STEP - 1):
        for entry in entries:
            task_id = task_id_of(entry.args)
            if task_id in ids and entry.retried_at is None:
                assert task_id is not None
                yield task_id, entry
        at += _STEP


def tells(record: Record, entry: FailedJob) -> bool:
    """Whether a foreign worker wrote an entry of a waiting task, and not of a run before: what our
    workers write, the record knows. Their times are whole seconds.
    """
    if entry.exception == ZOMBIE or incarnation_of(entry.worker or "") is not None:
        return False
    before_ms = 0 if record.last_run is None else record.last_run.finish_ms
    failed_ms = moment_of(entry.failed_at)
    return failed_ms is None or failed_ms + 999 >= max(record.next_run_ms or 0, before_ms)
