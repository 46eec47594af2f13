"""Priorities: sub-queues that our workers expand, and that everybody else sees as queues."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from resqpy.base.errors import UsageError
from resqpy.base.keys import check_priority, family, split_priority, with_priority
from resqpy.engine.inspect.inspector import Resque
from resqpy.engine.options import WorkerOptions
from resqpy.engine.queue.queue import Queue
from resqpy.engine.worker.queues import QueueNames
from resqpy.store import queues
from resqpy.store.connection.client import Store
from resqpy.tracked.verbs import Tracked
from tests.support.waiting import wait_for
from tests.tracked.support import Workshop

KNOWN = ["a", "a^-2", "a^1", "a^9", "b", "b^2", "x^1"]


@pytest.mark.parametrize(
    ("specs", "names"),
    [
        ("a", ["a^9", "a^1", "a", "a^-2"]),
        ("b,a", ["b^2", "b", "a^9", "a^1", "a", "a^-2"]),
        ("*", ["a^9", "a^1", "a", "a^-2", "b^2", "b", "x^1"]),
        ("a^1,a", ["a^1", "a^9", "a", "a^-2"]),
        ("*,!a", ["b^2", "b", "x^1"]),
        ("*,!a^1", ["a^9", "a", "a^-2", "b^2", "b", "x^1"]),
        ("x", ["x^1", "x"]),
        ("new", ["new"]),
    ],
)
def test_expansion(specs: str, names: list[str]) -> None:
    """Who works a queue works its sub-queues, the higher first."""
    queues = QueueNames(specs)
    queues.resolve(KNOWN)
    assert queues.names == names


def test_names() -> None:
    """A priority is part of the queue's name; what only looks so is none."""
    assert with_priority("a", 5) == "a^5"
    assert with_priority("a", 0) == "a"
    for name in ("a^5", "a^-9", "a:b^1"):
        assert with_priority(*split_priority(name)) == name
    for name in ("a", "a^0", "a^10", "a^x", "^5", "a^-0"):
        assert split_priority(name) == (name, 0)
    assert len(family("a")) == 19
    assert family("a^3") == ["a^3"]
    for wrong in (10, -10, 1.5, True, "1", None):
        with pytest.raises(UsageError, match="from -9 to 9"):
            check_priority(wrong)


async def test_the_higher_runs_first(tracked: Tracked, store: Store) -> None:
    """Among due tasks the higher runs first, and within a priority the earlier; others count as 0."""
    for name, priority in (("l", -3), ("n1", 0), ("h1", 5), ("n2", 0), ("h2", 5), ("top", 9)):
        await tracked.create("note", {"name": name}, queue="jobs", priority=priority)
    await Queue(store).enqueue("jobs", "note", [{"name": "untracked"}])
    assert await Resque(store).length("jobs") == 7
    seen: list[str] = []

    async def note(payload: dict[str, Any]) -> None:
        seen.append(payload["name"])

    async with Workshop(store, {"note": note}, slots=1, queues="jobs"):
        await wait_for(lambda: len(seen) == 7)
        await tracked.create("note", {"name": "late"}, queue="jobs", priority=7)
        await wait_for(lambda: len(seen) == 8)

    assert seen == ["top", "h1", "h2", "n1", "n2", "untracked", "l", "late"]


async def test_the_earlier_start_runs_first(tracked: Tracked, store: Store) -> None:
    """Within a priority the earlier start time runs first, also if the task was created later."""
    now = tracked.clock.now_ms()
    for name, ago in (("a", 1000), ("b", 3000), ("c", 2000), ("d", 0), ("e", 4000)):
        await tracked.create("note", {"name": name}, queue="jobs", start=now - ago)
    await Queue(store).enqueue("jobs", "note", [{"name": "untracked"}])
    await tracked.create("note", {"name": "f"}, queue="jobs", start=now - 9000)
    seen: list[str] = []

    async def note(payload: dict[str, Any]) -> None:
        seen.append(payload["name"])

    async with Workshop(store, {"note": note}, slots=1, queues="jobs"):
        await wait_for(lambda: len(seen) == 7)

    assert seen == ["e", "b", "c", "a", "d", "untracked", "f"]


async def test_a_sub_queue_that_is_made_while_the_names_are_asked(
    tracked: Tracked, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is seen at once, not at the next sign of life."""
    names = queues.names
    ran, told, armed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slowly(store: Store) -> list[str]:
        found = await names(store)
        if armed.is_set():  # the worker is told of the change before the old names have arrived
            armed.clear()
            await tracked.create("note", queue="jobs", priority=3)
            await told.wait()
        return found

    async def note(_: dict[str, Any]) -> None:
        ran.set()

    options = WorkerOptions(heartbeat_s=60)
    async with Workshop(store, {"note": note}, queues="jobs", options=options) as shop:
        changed = shop.worker.pool.names_changed

        def tell() -> None:
            changed()
            told.set()

        await asyncio.sleep(0.1)  # its first looks are over
        monkeypatch.setattr(shop.worker.pool, "names_changed", tell)
        monkeypatch.setattr(queues, "names", slowly)
        armed.set()
        changed()
        async with asyncio.timeout(5):
            await ran.wait()
