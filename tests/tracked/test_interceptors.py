"""Interceptors around the verbs: irontask's suites of client and task, on a real Redis.

Those around the processing are with the listener.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy import Snooze
from resqpy.base.cron.cron import InvalidCron
from resqpy.base.errors import HookTimeout
from resqpy.framework.api.tracking import TrackedApi
from resqpy.store.connection.client import Store
from resqpy.tracked.active import ActiveTask
from resqpy.tracked.errors import TaskRefused, TrackedError, UnknownTaskId
from resqpy.tracked.processing import CallNext, Finished, Operation
from resqpy.tracked.verbs import Tracked
from tests.support.redis_state import dump
from tests.support.waiting import wait_for
from tests.tracked.support import Listen, known, status_is


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
    with pytest.raises(TaskRefused, match=f"remove of {task.id!r}"):
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
        with pytest.raises(TaskRefused, match=f"defer of '{task.id}'"):
            await task.defer(5_000)
        told.append(task.processing_state)
        return "done"

    async with TrackedApi(store) as api:
        api.interceptors.append(interceptor)
        await api.listen("a", handler)
        task = await api.create("a")
        after = await status_is(api, task.id, "completed")
    assert (told, after.result) == (["active"], "done")


class Hangs:
    """An interceptor that hangs before or behind what it stands around; each cancellation is counted."""

    hook_timeout = 30

    def __init__(self, where: str, *, swallows: int = 0, verb: str = "create") -> None:
        self.where, self.swallows, self.verb = where, swallows, verb
        self.cancelled = 0

    async def __call__(self, operation: Operation, call_next: CallNext) -> None:
        if operation.verb != self.verb:
            await call_next()
            return
        await self.around(call_next)

    async def around(self, call_next: CallNext) -> None:
        """The call."""
        if self.where == "before":
            await self.hang()
        result = await call_next()
        if self.where == "behind":
            await self.hang()
        assert result is not None

    async def hang(self) -> None:
        """As often as it swallows it, and once more."""
        while self.cancelled <= self.swallows:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                self.cancelled += 1
        raise asyncio.CancelledError


@pytest.mark.parametrize("swallows", [0, 1, 2])
async def test_an_interceptor_that_hangs_before(
    tracked: Tracked, redis: Redis, swallows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller is told which one it was, and nothing is written."""
    monkeypatch.setattr("resqpy.base.concurrency.limited.GRACE_S", 0.02)
    hangs = Hangs("before", swallows=swallows)
    tracked.interceptors.append(hangs)
    with pytest.raises(HookTimeout, match=r"interceptor Hangs .*'create'.*0\.03 s"):
        await tracked.create("mail")
    assert await dump(redis) == {}
    for task in asyncio.all_tasks():  # what swallows it is left behind
        if "Hangs" in task.get_name():
            task.cancel()


@pytest.mark.parametrize("outer", [True, False])
async def test_an_interceptor_that_hangs_behind(
    tracked: Tracked, caplog: pytest.LogCaptureFixture, outer: bool
) -> None:
    """The verb is done: the caller gets what it gave, and the log says who hung."""

    async def other(_: Operation, call_next: CallNext) -> None:
        await call_next()

    tracked.interceptors += [Hangs("behind"), other] if outer else [other, Hangs("behind")]
    task = await tracked.create("mail", {"a": 1})
    assert (await known(tracked, task.id)).payload == {"a": 1}
    assert "interceptor Hangs" in caplog.text


async def test_what_it_stands_around_does_not_count(tracked: Tracked) -> None:
    """A slow verb is no fault of the interceptor around it."""

    async def slow(_: Operation, call_next: CallNext) -> None:
        await asyncio.sleep(0.2)
        await call_next()

    tracked.interceptors += [Hangs("nowhere"), slow]
    assert (await tracked.create("mail")).status == "pending"


async def test_one_without_a_limit(tracked: Tracked) -> None:
    """`hook_timeout = None` says so."""
    hangs = Hangs("before")
    hangs.hook_timeout = None  # type: ignore[assignment]
    tracked.interceptors.append(hangs)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(tracked.create("mail"), 0.2)


@pytest.mark.parametrize("swallows", [0, 1])
@pytest.mark.parametrize("where", ["before", "behind"])
async def test_an_interceptor_of_runs_that_hangs(
    tracked: Tracked,
    listen: Listen,
    where: str,
    swallows: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The slot is free again: what was not begun is released, what is done stays done."""
    monkeypatch.setattr("resqpy.engine.plugin.GRACE_S", 0.02)
    hangs, ran = Hangs(where, swallows=swallows), []

    async def interceptor(_: ActiveTask, call_next: Any) -> None:
        await (call_next() if hangs.cancelled else hangs.around(call_next))

    interceptor.hook_timeout = 30  # type: ignore[attr-defined]
    created = await tracked.create("slow", queue="slow")
    await listen("slow", lambda task: ran.append(task.id), interceptor=interceptor)
    after = await status_is(tracked, created.id, "completed")
    await wait_for(lambda: "HookTimeout" in caplog.text or "hook_timeout" in caplog.text)
    assert (after.runs, ran) == (1, [created.id])


async def test_a_snooze_inside(tracked: Tracked, listen: Listen) -> None:
    """Its end is written before the interceptor goes on, which sees it as a defer without an error."""
    seen: list[Finished | None] = []

    async def interceptor(_: ActiveTask, call_next: Any) -> None:
        seen.append(await call_next())

    def handler(_: ActiveTask) -> None:
        raise Snooze(60_000, most=1)

    created = await tracked.create("rests", queue="rests")
    await listen("rests", handler, interceptor=interceptor)
    after = await status_is(tracked, created.id, "scheduled")
    await wait_for(lambda: seen)

    assert (after.snoozed, after.attempts) == (1, 0)
    assert seen == [Finished("defer", None, 60_000)]
