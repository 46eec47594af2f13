"""Interceptors around the verbs: irontask's suites of client and task, on a real Redis.

Those around the processing are with the listener.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy.base.cron import InvalidCron
from resqpy.base.errors import TaskRefused, TrackedError, UnknownTaskId
from resqpy.engine.tracked.active import ActiveTask
from resqpy.engine.tracked.intercepting import CallNext, Operation
from resqpy.engine.tracked.tracked import Tracked
from resqpy.framework.tracking import TrackedApi
from resqpy.store.client import Store
from tests.support.redis_state import dump
from tests.tracked.support import known, status_is


async def test_an_interceptor_of_create(tracked: Tracked) -> None:
    """Client: 'captures information about the request', and what came of it."""
    seen: list[Any] = []

    async def interceptor(operation: Operation, call_next: CallNext) -> None:
        seen.append((operation.verb, operation.subject, dict(operation.details)))
        seen.append(await call_next())

    tracked.interceptors.append(interceptor)
    task = await tracked.create("mail", {"hello": "world"}, tags=["a"])

    assert seen == [("create", "mail", {"payload": {"hello": "world"}, "tags": ["a"]}), task]
    assert (task.status, task.payload) == ("pending", {"hello": "world"})


async def test_an_interceptor_sees_why_create_failed(tracked: Tracked, redis: Redis) -> None:
    """Client: 'captures request errors'; who asked gets the error, even if it is swallowed here."""
    seen: list[BaseException] = []

    async def interceptor(_: Operation, call_next: CallNext) -> None:
        try:
            await call_next()
        except InvalidCron as error:
            seen.append(error)

    tracked.interceptors.append(interceptor)
    with pytest.raises(InvalidCron, match="it never fires") as caught:
        await tracked.create("mail", interval="0 0 31 2 *")

    assert seen == [caught.value]
    assert await dump(redis) == {}


async def test_an_interceptor_of_create_calls_twice(tracked: Tracked) -> None:
    """Client: 'throws if it tries to call next multiple times'; one task is created."""

    async def interceptor(_: Operation, call_next: CallNext) -> None:
        await call_next()
        await call_next()

    tracked.interceptors.append(interceptor)
    with pytest.raises(TrackedError, match="may call the next function only once"):
        await tracked.create("mail")

    tracked.interceptors.clear()
    assert await tracked.count() == 1


async def test_an_interceptor_of_a_task(tracked: Tracked) -> None:
    """Task: 'captures information about the request', of each verb, called on the task or by its id."""
    task = await tracked.create("mail", {"first": "property"})
    seen: list[tuple[str, str | None]] = []

    async def interceptor(operation: Operation, call_next: CallNext) -> None:
        seen.append((operation.verb, operation.subject))
        await call_next()

    tracked.interceptors.append(interceptor)
    task.payload["first"] = "updated"
    await task.save()
    await task.disable()
    await tracked.enable(task.id, recompute_next_run=True)
    await task.retry()
    await task.refresh()
    await task.cancel()
    assert (await tracked.query()).tasks[0].payload == {"first": "updated"}
    assert await tracked.count(type="mail") == 1
    assert await task.remove()
    assert await tracked.get(task.id) is None

    of_task = ["save", "disable", "enable", "retry", "get", "cancel"]
    assert seen[:6] == [(verb, task.id) for verb in of_task]
    assert seen[6:] == [("query", None), ("count", None), ("remove", task.id), ("get", task.id)]


async def test_an_interceptor_sees_why_save_failed(tracked: Tracked) -> None:
    """Task: 'captures request errors'."""
    task = await tracked.create("mail", {"first": "property"})
    await tracked.remove(task.id)
    seen: list[str] = []

    async def interceptor(operation: Operation, call_next: CallNext) -> None:
        try:
            await call_next()
        except UnknownTaskId as error:
            seen.append(f"{operation.verb}: {error}")
            raise

    tracked.interceptors.append(interceptor)
    task.payload["first"] = "updated"
    with pytest.raises(UnknownTaskId):
        await task.save()

    assert seen == [f"save: there is no task {task.id!r}: it was removed, or never created"]


async def test_an_interceptor_of_save_calls_twice(tracked: Tracked) -> None:
    """Task: 'throws if it tries to call next multiple times'; it is saved once."""
    task = await tracked.create("mail", {"a": 1})

    async def interceptor(_: Operation, call_next: CallNext) -> None:
        await call_next()
        await call_next()

    tracked.interceptors.append(interceptor)
    task.payload["a"] = 2
    with pytest.raises(TrackedError, match="only once"):
        await task.save()

    tracked.interceptors.clear()
    assert (await known(tracked, task.id)).payload == {"a": 2}


async def test_an_interceptor_forbids(tracked: Tracked, redis: Redis) -> None:
    """One that doesn't go on refuses the verb, and nothing is written; its own error is told too."""
    task = await tracked.create("mail")

    async def silent(operation: Operation, call_next: CallNext) -> None:
        if operation.verb != "remove":
            await call_next()

    async def loud(operation: Operation, call_next: CallNext) -> None:
        if operation.details.get("tags") == ["spam"]:
            raise PermissionError("no spam")
        await call_next()

    tracked.interceptors += [silent, loud]
    before = await dump(redis)
    with pytest.raises(TaskRefused, match=f"remove of {task.id!r}: an interceptor forbids it"):
        await task.remove()
    with pytest.raises(PermissionError, match="no spam"):
        await tracked.create("mail", tags=["spam"])
    assert await dump(redis) == before


async def test_interceptors_stand_in_their_order(tracked: Tracked) -> None:
    """The first stands outermost, and sees what the others make of it."""
    told: list[str] = []

    def named(name: str) -> Any:
        async def interceptor(_: Operation, call_next: CallNext) -> None:
            told.append(f"{name} before")
            result = await call_next()
            told.append(f"{name} after {result.type}")

        return interceptor

    tracked.interceptors += [named("outer"), named("inner")]
    await tracked.create("mail")

    assert told == ["outer before", "inner before", "inner after mail", "outer after mail"]


CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any], str]] = [
    ("save", (), {}, "completed"),
    ("complete", (5_000,), {"next_run_delay": 5_000}, "scheduled"),
    ("fail", ("no",), {"error": "no"}, "failed"),
    ("retry", ("again", 5_000), {"error": "again", "delay": 5_000}, "scheduled"),
    ("defer", (5_000,), {"delay": 5_000}, "scheduled"),
    ("delete", (), {}, ""),
]


@pytest.mark.parametrize(("verb", "given", "details", "status"), CALLS, ids=[c[0] for c in CALLS])
async def test_an_interceptor_of_an_active_task(
    store: Store, verb: str, given: tuple[Any, ...], details: dict[str, Any], status: str
) -> None:
    """Task: what a handler calls of its active task passes the interceptors, by name or by place."""
    seen: list[tuple[str, str | None, dict[str, Any]]] = []

    async def interceptor(operation: Operation, call_next: CallNext) -> None:
        if operation.verb == verb:
            seen.append((operation.verb, operation.subject, dict(operation.details)))
        await call_next()

    async def handler(task: ActiveTask) -> None:
        await getattr(task, verb)(*given)

    async with TrackedApi(store) as api:
        api.interceptors.append(interceptor)
        listener = await api.listen("a", handler)
        finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        listener.on("finished_task", lambda _: finished.set_result(None))
        task = await api.create("a")
        await finished
        after = await api.get(task.id)
    assert seen == [(verb, task.id, details)]
    assert (status or None) == (None if after is None else after.status)


async def test_an_interceptor_forbids_an_active_task(store: Store) -> None:
    """Task: what an interceptor doesn't let pass is not written; the handler is told, and goes on."""
    told: list[str] = []

    async def interceptor(operation: Operation, call_next: CallNext) -> None:
        if operation.verb != "defer":
            await call_next()

    async def handler(task: ActiveTask) -> str:
        with pytest.raises(TaskRefused, match=f"defer of '{task.id}': an interceptor forbids it"):
            await task.defer(5_000)
        told.append(task.processing_state)
        return "done"

    async with TrackedApi(store) as api:
        api.interceptors.append(interceptor)
        await api.listen("a", handler)
        task = await api.create("a")
        after = await status_is(api, task.id, "completed")
    assert (told, after.result) == (["active"], "done")
