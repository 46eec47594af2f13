"""Creating many tasks at once, and waiting for the end of one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy.base.errors import UsageError
from resqpy.engine.definition import define
from resqpy.framework.api.tracking import TrackedApi
from resqpy.store.connection.client import Store
from resqpy.tracked.active import ActiveTask
from resqpy.tracked.errors import UnknownTaskId
from resqpy.tracked.verbs import Tracked
from tests.support.waiting import wait_for
from tests.tracked.support import KEYS, Listen, promoting


async def test_many(tracked: Tracked, redis: Any) -> None:
    """Each with its own options, in their order; more than are created at the same time."""
    wanted: list[Any] = [("mail", {"n": n}, {"priority": n % 2}) for n in range(700)]
    made = await tracked.create_many([*wanted, ("post", None)])
    assert [task and task.payload for task in made] == [{"n": n} for n in range(700)] + [{}]
    assert await redis.llen(KEYS.queue("default")) == 351
    assert await tracked.count(type="mail") == 700
    assert len({task.id for task in made if task}) == 701


async def test_asked_again(tracked: Tracked, redis: Any) -> None:
    """What is there already is not created once more; what is missing is."""
    wanted: list[Any] = [("mail", {"n": n}, {"id": f"mail:{n}"}) for n in range(3)]
    first = await tracked.create_many(wanted[:2])
    again = await tracked.create_many([*wanted, wanted[2]])
    assert [task and task.id for task in first] == ["mail:0", "mail:1"]
    assert sorted(task.id for task in again if task) == ["mail:2"]
    assert await redis.llen(KEYS.queue("default")) == 3


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (("mail", {}, {"retries": -1}), "retries -1"),
        (("mail", {}, {"retriess": 1}), "did you mean 'retries'"),
        (("mail",), "neither"),
        ("mail", "neither"),
        (("mail", "text"), "JSON object"),
    ],
)
async def test_nothing_is_written_where_one_is_wrong(
    tracked: Tracked, redis: Any, wrong: Any, words: str
) -> None:
    """And it is said which."""
    with pytest.raises(UsageError, match=words):
        await tracked.create_many([("mail", {}), wrong])
    assert await redis.keys("*") == []


async def test_a_lock_that_forbids(store: Store) -> None:
    """Of equal ones one is created, where QueueLock says so; the policy is the definition's."""
    options = {"Retry": {"retry_limit": 8}}
    task = define("mail", print, plugins=["QueueLock", "Retry"], plugin_options=options)
    tracked = Tracked(store, definition_of=lambda _: task)
    made = await tracked.create_many([("mail", {"a": 1}), ("mail", {"a": 1}), ("mail", {"a": 2})])
    assert [each.retries for each in made if each] == [7, 7]
    assert made[2] is not None


async def test_an_end(tracked: Tracked, store: Store, redis: Redis, listen: Listen) -> None:
    """Completed, failed and cancelled; whoever comes late is answered at once."""

    async def handler(task: ActiveTask) -> str:
        if task.payload.get("fails"):
            raise ValueError("boo")
        await asyncio.sleep(0.05)
        return "done"

    await listen("mail", handler)
    good = await tracked.create("mail", {}, queue="mail")
    bad = await tracked.create("mail", {"fails": True}, queue="mail", retries=1, backoff=1)
    never = await tracked.create("mail", {}, queue="mail", delay=3_600_000)
    async with promoting(redis, store):
        waits = [asyncio.create_task(each.wait(20_000)) for each in (good, bad, never)]
        await waits[0]
        await never.cancel()
        assert await asyncio.gather(*waits) == ["completed", "failed", "cancelled"]
    assert good.result == "done"
    assert bad.error is not None
    assert (bad.error.name, bad.runs) == ("ValueError", 1)
    assert await good.wait(timeout=20_000) == "completed"


async def test_many_who_wait(tracked: Tracked, redis: Any, listen: Listen) -> None:
    """They share one connection, which is closed when nobody waits any more."""
    tasks = [task for task in await tracked.create_many([("mail", {})] * 30) if task]
    before = len(await redis.client_list(_type="pubsub"))
    waits = [asyncio.create_task(task.wait(20_000)) for task in tasks]
    others = [asyncio.create_task(tasks[0].wait(20_000)) for _ in range(3)]

    async def connected() -> int:
        return len(await redis.client_list(_type="pubsub")) - before

    assert await wait_for(connected) == 1
    await listen("mail", lambda _: None, start=False)
    await asyncio.gather(*(task.cancel() for task in tasks))
    assert set(await asyncio.gather(*waits, *others)) == {"cancelled"}

    async def closed() -> bool:
        return await connected() == 0

    await wait_for(closed)


async def test_a_record_that_is_not_kept(tracked: Tracked, store: Store, listen: Listen) -> None:
    """What the event told is the answer."""

    async def handler(task: ActiveTask) -> None:
        await asyncio.sleep(0.05)
        if task.payload.get("fails"):
            raise ValueError("boo")

    good = await tracked.create("mail", {}, queue="mail", retain_for=0)
    bad = await tracked.create("mail", {"fails": True}, queue="mail", retain_for=0, retries=0)
    waits = [asyncio.create_task(each.wait(20_000)) for each in (good, bad)]
    await wait_for(tracked.waiting._events._listens.is_set)
    await listen("mail", handler)
    assert await asyncio.gather(*waits) == ["completed", "failed"]
    assert bad.error is not None
    assert (good.status, bad.status, bad.error.name) == ("completed", "failed", "ValueError")
    assert await store.call("EXISTS", KEYS.task(good.id)) == 0


async def test_no_end(tracked: Tracked) -> None:
    """It is over when the time is; and when the task is removed."""
    task = await tracked.create("mail", {}, delay=3_600_000)
    with pytest.raises(TimeoutError):
        await task.wait(timeout=50)
    waiting = asyncio.create_task(task.wait(20_000))
    await wait_for(tracked.waiting._events._listens.is_set)
    await task.remove()
    with pytest.raises(UnknownTaskId, match="is gone"):
        await waiting


async def test_by_the_api(store: Store) -> None:
    """`api.tracked` has both."""
    async with TrackedApi(store) as api:
        await api.listen("mail", lambda task: task.payload["n"])
        made = await api.create_many([("mail", {"n": n}) for n in range(5)])
        assert [await task.wait(20_000) for task in made if task] == ["completed"] * 5
        assert [task.result for task in made if task] == [0, 1, 2, 3, 4]
