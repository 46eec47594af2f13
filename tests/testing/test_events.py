"""`capture_events`."""

from __future__ import annotations

import pytest

from resqpy import MultiWorker, Process, api
from resqpy.base.errors import UsageError
from resqpy.testing import capture_events
from tests.support.waiting import wait_for


async def test_what_a_worker_tells_is_kept(resqpy_process: Process) -> None:
    """All but the polls, or what is asked for; and no more after the block."""
    await api.tasks.enqueue("count_words", {"text": "to be"})
    worker = MultiWorker(resqpy_process.resque.store, api.registry.definitions, "low")
    with capture_events(worker) as events, capture_events(worker, "success") as ends:
        async with worker:
            await wait_for(lambda: ends)
    worker.emit("success", "too late")

    names = [each.name for each in events]
    assert names[:3] == ["start", "job", "success"]
    assert [each.args[3] for each in ends] == [2]


async def test_a_part_that_is_not_there(resqpy_process: Process) -> None:
    """It is told how to have it."""
    with pytest.raises(UsageError, match="worker=True"), capture_events(api.resque.multi_worker):
        pass
