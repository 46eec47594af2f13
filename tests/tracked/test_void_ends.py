"""Ends of runs that are not written, or that nobody told us of: those who hold the task are told."""

from __future__ import annotations

from typing import Any

import pytest

from resqpy.base.errors import OutcomeUnknown
from resqpy.framework.api.tracking import current_task
from resqpy.store.connection.client import Store
from resqpy.store.exchange import Exchanged, Request
from resqpy.tracked.active import ActiveTask
from resqpy.tracked.processing import Finished
from resqpy.tracked.verbs import Tracked
from tests.support.waiting import wait_for
from tests.support.working import at_rest
from tests.tracked.support import Listen, Workshop, processed, status_is


async def test_removed_while_it_runs(
    tracked: Tracked, listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    """A handler that returns when its task is gone has lost its lock: no slot and no listener waits
    for the end of that lock, and it is no trouble of the worker.
    """
    heard: list[str] = []

    async def handler(task: ActiveTask) -> None:
        task.on("finished", lambda finished: heard.append(finished.result))
        task.on("lock_lost", lambda: heard.append("event"))
        await tracked.remove(task.id)

    listener = await listen("gone", handler)
    task = await tracked.create("gone", queue="gone", lock_duration=600_000)
    await processed(listener)
    assert heard == ["lock_lost", "event"]
    assert listener.active_count == 0
    assert [each.getMessage() for each in caplog.records if each.name == "resqpy.tracked"] == [
        f"task {task.id} (gone) was removed, or its lock expired: the changes of this run were not written"
    ]


async def test_an_end_whose_reply_was_lost(tracked: Tracked, store: Store) -> None:
    """An end that was written, which the worker learns when it asks again, is told once."""
    heard: list[Finished] = []

    async def mail(_: Any) -> None:
        task = current_task()
        assert task is not None
        task.on("finished", heard.append)

    async with Workshop(store, {"mail": mail}, queues="mail") as shop:
        await at_rest(shop.worker)
        exchange = shop.worker.pool.reporting.exchange
        arrived = exchange.arrived
        lost: list[int] = []

        def forget_first(request: Request) -> Exchanged | None:
            found = arrived(request)
            if request.ended and not lost:
                lost.append(request.ended)
                raise OutcomeUnknown("lost")
            return found

        exchange.arrived = forget_first  # type: ignore[method-assign]
        task = await tracked.create("mail", queue="mail", lock_duration=600_000)
        after = await status_is(tracked, task.id, "completed")
        await wait_for(lambda: heard)
        await wait_for(lambda: not shop.worker.pool.slots.busy)
    assert lost == [1]
    assert (after.runs, [each.result for each in heard]) == (1, ["complete"])
