"""TWIN's connector suite and Extra Horizon's tasks, behaviour by behaviour, on a real Redis."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy.base.errors import ImportFailed, UnknownOption, UsageError
from resqpy.framework.api.api import api as resqpy_api
from resqpy.framework.api.tracking import TrackedApi
from resqpy.framework.process.process import Process
from resqpy.framework.project.project import Project
from resqpy.framework.tasks.task import Task, task
from resqpy.store.connection.client import Store
from resqpy.tracked.checks import PRESETS, preset
from resqpy.tracked.finding import DEFAULT_PAGE_SIZE
from resqpy.tracked.handle import TrackedTask, make_query
from tests.support.waiting import wait_for
from tests.tracked import modules
from tests.tracked.support import KEYS, promoting, status_is

MODULE = "tests.tracked.modules"
KEPT = 10_000


@pytest.fixture
async def api(store: Store) -> AsyncIterator[TrackedApi]:
    """The verbs with TWIN's defaults, started."""
    modules.broken.clear()
    async with TrackedApi(store, defaults="twin") as api:
        yield api


async def test_construct(store: Store, redis: Redis) -> None:
    """'can construct with dependencies': that alone writes nothing and takes nothing."""
    api = TrackedApi(store, defaults="twin")
    assert (api.listeners, api.defaults) == ({}, PRESETS["twin"])
    assert await redis.keys("*") == []
    await api.stop()


async def test_without_a_handler(api: TrackedApi) -> None:
    """'can create a task with no handler': it waits."""
    created = await api.create("my-type")
    shown = (await api.fetch(created.id)).to_json()
    wanted = {"retain_for": 0, "status": "pending", "type": "my-type", "retries": None}
    assert {name: shown[name] for name in wanted} == wanted


async def test_without_retainment(api: TrackedApi) -> None:
    """'can create a task with handler and no retainment': it goes at its end, with its result told."""
    told: list[tuple[str, Any]] = []

    async def changed(task: TrackedTask) -> None:
        told.append((task.status, task.result))

    await api.register_handler("my-type", MODULE, "method", changed)
    created = await api.create("my-type", {"counter": 0})
    shown = created.to_json()
    wanted = {
        "payload": {"counter": 0}, "retain_for": 0, "retries_remaining": None,
        "retry_interval": 5000, "status": "pending", "type": "my-type",
    }  # fmt: skip
    assert {name: shown[name] for name in wanted} == wanted
    await wait_for(lambda: len(told) == 2)
    assert told == [("running", None), ("completed", {"counter": 1})]
    assert await api.get(created.id) is None


@pytest.mark.parametrize(("method", "result"), [("method", {"counter": 1}), ("plain_method", 1)])
async def test_with_retainment(api: TrackedApi, method: str, result: Any) -> None:
    """'can create a task with handler and retainment'; what a handler does to its payload is its own."""
    await api.register_handler("my-type", MODULE, method)
    created = await api.create("my-type", {"counter": 0}, retain_for=KEPT)
    done = await status_is(api, created.id, "completed")
    assert (done.payload, done.result) == ({"counter": 0}, result)
    assert done.to_json()["retain_until"] is not None


async def test_an_error_without_retries(api: TrackedApi) -> None:
    """'… with handler and retainment with error and no retries'."""
    modules.broken.add(1)
    await api.register_handler("my-type", MODULE, "method")
    payload = {"throw": True, "counter": 0, "id": 1}
    created = await api.create("my-type", payload, retain_for=KEPT, retries=0)
    failed = await status_is(api, created.id, "failed")
    assert failed.payload == payload
    assert failed.error is not None
    assert (failed.error.name, failed.error.message) == ("ValueError", "error")


async def test_an_error_with_a_retry(api: TrackedApi, redis: Redis, store: Store) -> None:
    """'… with error and single retry'; `retry` does not wait for its time."""
    modules.broken.add(1)
    told: list[str] = []

    def changed(task: TrackedTask) -> None:
        told.append(task.status)

    await api.register_handler("my-type", MODULE, "method", changed)
    payload = {"throw": True, "counter": 0, "id": 1}
    created = await api.create("my-type", payload, retain_for=KEPT, retries=1, backoff=60_000)
    waiting = await status_is(api, created.id, "scheduled")
    assert waiting.error is not None
    assert (waiting.error.message, waiting.attempts) == ("error", 1)
    assert waiting.to_json()["retries_remaining"] == 0
    modules.broken.clear()
    await api.retry(created.id)
    done = await status_is(api, created.id, "completed")
    assert (done.result["counter"], done.error) == (1, None)
    await wait_for(lambda: told == ["running", "scheduled", "running", "completed"])


async def test_an_error_with_a_retry_in_time(api: TrackedApi, redis: Redis, store: Store) -> None:
    """'… with error and single retry': by itself after its interval, with the payload saved since."""
    modules.broken.add(1)
    await api.register_handler("my-type", MODULE, "method")
    payload = {"throw": True, "counter": 0, "id": 1}
    created = await api.create("my-type", payload, retain_for=KEPT, retries=1, backoff=1500)
    async with promoting(redis, store):

        async def failed_once() -> TrackedTask | None:
            task = await api.get(created.id)
            return task if task is not None and task.error is not None else None

        waiting = await wait_for(failed_once)
        assert waiting is not None
        assert (waiting.to_json()["retry_interval"], waiting.payload) == (1500, payload)
        waiting.payload["throw"] = False
        await waiting.save()
        done = await status_is(api, created.id, "completed")
    assert done.payload == {**payload, "throw": False}
    assert done.result == {**payload, "throw": False, "counter": 1}
    assert (done.attempts, done.runs, done.error) == (0, 1, None)


async def test_for_ever(api: TrackedApi, redis: Redis, store: Store) -> None:
    """Without a retry count a task is retried for ever."""
    modules.broken.add(1)
    await api.register_handler("my-type", MODULE, "method")
    payload = {"throw": True, "counter": 0, "id": 1}
    created = await api.create("my-type", payload, backoff=1)
    async with promoting(redis, store):

        async def tried() -> bool:
            task = await api.get(created.id)
            return task is not None and task.attempts >= 2

        await wait_for(tried, 10.0)
        modules.broken.clear()

        async def gone() -> bool:
            return await api.get(created.id) is None

        await wait_for(gone, 10.0)


@pytest.mark.parametrize("before", [True, False])
async def test_in_order(api: TrackedApi, before: bool) -> None:
    """'can add multiple tasks and process them in order', be the handler there before or after; one
    ends before the next begins.
    """
    modules.at_once.clear()
    if before:
        await api.register_handler("my-type", MODULE, "method")
    created = [
        await api.create("my-type", {"id": i, "counter": i}, retain_for=KEPT) for i in range(5)
    ]
    if not before:
        await api.register_handler("my-type", MODULE, "method")
    for index, each in enumerate(created):
        done = await status_is(api, each.id, "completed")
        assert done.result == {"id": index, "counter": index + 1}
    assert modules.at_once == [1] * 5
    order = [each.id async for each in api.iterate(type="my-type", sort="completed")]
    assert order == [each.id for each in created]


async def test_in_order_with_one_that_fails(api: TrackedApi) -> None:
    """'… in order, when one item fails and no retry'."""
    modules.broken.add(2)
    created = [
        await api.create(
            "my-type", {"id": i, "counter": i, "throw": True}, retain_for=KEPT, retries=0
        )
        for i in range(5)
    ]
    await api.register_handler("my-type", MODULE, "method")
    await status_is(api, created[4].id, "completed")
    done = [await api.fetch(each.id) for each in created]
    statuses = ["completed", "completed", "failed", "completed", "completed"]
    assert [each.status for each in done] == statuses
    assert [each.payload["counter"] for each in done] == list(range(5))
    assert [each.result and each.result["counter"] for each in done] == [1, 2, None, 4, 5]
    assert done[2].error is not None
    assert (done[2].error.name, done[2].error.message) == ("ValueError", "error")


async def test_in_order_with_one_that_is_retried(
    api: TrackedApi, redis: Redis, store: Store
) -> None:
    """'… in order, when one item fails and retry'; the query by completion tells the order."""
    modules.broken.add(2)
    created = [
        await api.create(
            "my-type", {"id": i, "counter": 0, "throw": True}, retain_for=KEPT, retries=9, backoff=1
        )
        for i in range(5)
    ]
    await api.register_handler("my-type", MODULE, "method")
    await status_is(api, created[4].id, "completed")
    modules.broken.clear()
    async with promoting(redis, store):
        await status_is(api, created[2].id, "completed")
    order = [
        each.id async for each in api.iterate(type="my-type", status="completed", sort="completed")
    ]
    assert order == [created[index].id for index in (0, 1, 3, 4, 2)]


async def test_the_process_in_a_handler(tmp_path: Path, redis_url: str) -> None:
    """'can start a clone of the engine in the background task': here it needs no clone."""
    (tmp_path / "config").mkdir()
    project = Project.load(tmp_path, "test", {"redis.url": redis_url, "tasks.timeout": 100})
    async with Process(project, worker=False):
        tracked = resqpy_api.tracked
        await tracked.register_handler("my-type", MODULE, "method")
        await tracked.register_handler("engine", MODULE, "uses_the_process")
        first = await tracked.create("engine", {"id": 9}, retain_for=KEPT)
        made = (await status_is(tracked, first.id, "completed")).result
        assert (await status_is(tracked, made, "completed")).result == {"id": 9, "counter": 1}


async def test_several_at_once(api: TrackedApi) -> None:
    """'can add task to a handler with multiple threads': as many as was said run at once."""
    modules.barriers.clear()
    await api.register_handler("my-type", MODULE, "threaded", concurrency=5)
    created = [await api.create("my-type", {"wanted": 5}, retain_for=KEPT) for _ in range(5)]
    threads = {(await status_is(api, each.id, "completed")).result for each in created}
    assert len(threads) == 5


async def test_types_at_once(api: TrackedApi) -> None:
    """'can handle multiple tasks at the same time': one type does not wait for another."""
    modules.barriers.clear()
    created = []
    for kind in ("one", "two"):
        await api.register_handler(kind, MODULE, "threaded")
        created.append(await api.create(kind, {"wanted": 2}, retain_for=KEPT))
    for each in created:
        await status_is(api, each.id, "completed")


async def test_stop_and_start(api: TrackedApi) -> None:
    """A handler that was stopped takes nothing; started again, it goes on."""
    await api.register_handler("my-type", MODULE, "method")
    api.pause()
    created = await api.create("my-type", {"counter": 0}, retain_for=KEPT)
    await asyncio.sleep(0.05)
    assert (await api.fetch(created.id)).status == "pending"
    await api.start()
    await status_is(api, created.id, "completed")


async def test_unregister(api: TrackedApi) -> None:
    """A type without a handler any more waits; another can take over."""
    await api.register_handler("my-type", MODULE, "method")
    with pytest.raises(UsageError, match="has a handler here already"):
        await api.register_handler("my-type", MODULE, "method")
    await api.unregister_handler("my-type")
    await api.unregister_handler("my-type")
    created = await api.create("my-type", {"counter": 0}, retain_for=KEPT)
    await asyncio.sleep(0.05)
    assert (await api.fetch(created.id)).status == "pending"
    await api.register_handler("my-type", MODULE, "plain_method")
    assert (await status_is(api, created.id, "completed")).result == 1


async def test_a_handler_that_is_not_there(api: TrackedApi) -> None:
    """A module or function that doesn't exist is refused when it is registered."""
    with pytest.raises(ImportFailed, match="did you mean 'method'"):
        await api.register_handler("my-type", MODULE, "methd")
    with pytest.raises(ImportFailed, match="nowhere"):
        await api.register_handler("my-type", "nowhere.at.all", "method")


class Shout(Task):
    """Says it loudly."""

    name = "shout"

    async def run(self, text: str) -> str:
        """Shout."""
        return text.upper()


@task(name="whisper", description="Says it quietly.")
def whisper(text: str) -> str:
    """Whisper."""
    return text.lower()


@pytest.mark.parametrize(("handler", "said"), [(Shout, "AB"), (whisper, "ab")])
async def test_a_task_as_handler(api: TrackedApi, handler: Any, said: str) -> None:
    """A `Task` class or a decorated function handles a type, with its inputs checked."""
    await api.listen("say", handler)
    good = await api.create("say", {"text": "aB"}, retain_for=KEPT)
    bad = await api.create("say", {"txt": "aB"}, retain_for=KEPT)
    assert (await status_is(api, good.id, "completed")).result == said
    failed = await status_is(api, bad.id, "failed")
    assert failed.error is not None
    assert failed.error.name == "InvalidInputs"


async def test_task_failed(api: TrackedApi) -> None:
    """Extra Horizon: a failure is published with exactly this content, to handlers here too."""
    modules.broken.add(1)
    heard: list[Any] = []
    kinds: list[str] = []
    api.events.on("task_failed", heard.append)
    api.events.on("any", lambda kind, _: kinds.append(kind))
    await api.events.start()
    await api.register_handler("my-type", MODULE, "method")
    created = await api.create(
        "my-type", {"throw": True, "counter": 0, "id": 1}, retries=0, retain_for=KEPT
    )
    await wait_for(lambda: heard)
    assert heard == [
        {
            "id": created.id,
            "functionName": "my-type",
            "error": {"type": "runtime", "name": "ValueError", "message": "error"},
        }
    ]
    assert kinds == ["task_created", "task_running", "task_failed"]


async def test_linked_retries(store: Store, redis: Redis) -> None:
    """Extra Horizon: a retry is a new task; the two know each other, and the old one is `retried`."""
    modules.broken.add(1)
    async with TrackedApi(store, defaults="extra_horizon") as api:
        await api.register_handler("my-type", MODULE, "method")
        payload = {"throw": True, "counter": 0, "id": 1}
        first = await api.create("my-type", payload, retries=1, backoff=1, tags=["t"])
        old = await status_is(api, first.id, "retried")
        new_id = old.record.retried_by
        assert new_id is not None
        async with promoting(redis, store):
            new = await status_is(api, new_id, "failed")
    assert new.record.retry_for == (first.id,)
    assert (new.tags, new.payload) == (("t",), payload)
    assert await redis.llen(KEYS.failed) == 1


MINUTE = 60_000
DEFAULTS = {  # retries, waits in seconds, linked, kept for, longest execution
    "irontask": (4, [1, 3.5, 12.25, 42.875], False, None, 30 * MINUTE),
    "extra_horizon": (0, [1, 2, 4, 8], True, None, None),
    "twin": (None, [5, 5, 5, 5], False, 0, None),
}


def test_presets() -> None:
    """One preset for each system; another is refused with the nearest."""
    for name, values in DEFAULTS.items():
        made = preset(name)
        waits = [made.retries.backoff.delay_ms(n) / 1000 for n in range(4)]
        shown = (made.retries.most, waits, made.retries.linked, made.retain_ms, made.longest_ms)
        assert (name, shown) == (name, values)
        assert (made.lock_ms, made.priority, made.retries.at_most_once) == (30_000, 0, False)
    assert set(PRESETS) == set(DEFAULTS)
    with pytest.raises(UnknownOption, match="did you mean 'irontask'"):
        preset("irontsk")


def test_what_no_preset_changes() -> None:
    """Defaults of verbs, as the reference has them."""
    query, listen = make_query({}), inspect.signature(TrackedApi.listen).parameters
    assert (query.sort, query.ascending, DEFAULT_PAGE_SIZE) == ("created", True, 25)
    assert listen["concurrency"].default == 10
    assert inspect.signature(TrackedApi.register_handler).parameters["concurrency"].default == 1
