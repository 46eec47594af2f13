"""Extra Horizon's page of tasks, sentence by sentence, on a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import pytest
from redis.asyncio import Redis

from resqpy.base import codec
from resqpy.engine.definition import define
from resqpy.framework.api.tracking import TrackedApi
from resqpy.framework.tasks.task import Task
from resqpy.plugins.retry import Retry
from resqpy.store.connection.client import Store
from resqpy.tracked import locks
from resqpy.tracked.active import ActiveTask
from resqpy.tracked.errors import TaskStateError
from resqpy.tracked.recovery import TrackedChore
from tests.support.waiting import wait_for
from tests.tracked.support import KEYS, Workshop, promoting, status_is

APPLICATION, USER = "6672ede774a7bd291fb0bea4", "58ff75ad4cedfd0005f80951"


class TypeError_(Exception):  # noqa: N801 - only its name matters
    """An error that is called as the page's."""


TypeError_.__qualname__ = "TypeError"
MESSAGE = "Cannot read property 'x' of undefined"


async def function_of_the_page(task: ActiveTask) -> str:
    """Do what the payload wants."""
    if task.payload.get("fail"):
        raise TypeError_(MESSAGE)
    return "done"


@pytest.fixture
async def api(store: Store) -> AsyncIterator[TrackedApi]:
    """The verbs with Extra Horizon's defaults and one function; started."""
    async with TrackedApi(store, defaults="extra_horizon") as api:
        await api.listen("testFunction", function_of_the_page)
        yield api


class Subscriber:
    """Any client that has subscribed to the channel."""

    def __init__(self, redis: Redis) -> None:
        self._pubsub: Any = redis.pubsub()

    async def __aenter__(self) -> Self:
        await self._pubsub.subscribe("resque:resqpy:events")
        await self._pubsub.get_message(timeout=2)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pubsub.aclose()

    async def failed(self) -> Any:
        """The next `task_failed`, as it was published."""
        async with asyncio.timeout(10):
            while True:
                message = await self._pubsub.get_message(timeout=1)
                event = None if message is None else codec.decode_text(message["data"])
                if event is not None and event["type"] == "task_failed":
                    return event


async def test_the_object(api: TrackedApi) -> None:
    """All attributes of the example: what was given, and what the service adds."""
    start = datetime.now(UTC).replace(microsecond=72_000) + timedelta(hours=1)
    made = await api.create(
        "testFunction", {"my_key": "My Value"}, tags=["my_tag"], priority=1, start=start,
        application=APPLICATION, user=USER,
    )  # fmt: skip
    shown = made.to_json()
    wanted = {
        "type": "testFunction", "status": "scheduled", "payload": {"my_key": "My Value"},
        "tags": ["my_tag"], "priority": 1, "created_by_application": APPLICATION,
        "created_by_user": USER,
    }  # fmt: skip
    assert {name: shown[name] for name in wanted} == wanted
    times = ("create_time", "last_updated_time", "status_changed_time")
    assert len({shown[name] for name in times}) == 1
    assert datetime.fromisoformat(shown["start_time"]) == start
    (found,) = (await api.query(tags=["my_tag"], application=APPLICATION, user=USER)).tasks
    assert found.to_json() == shown


async def test_a_life(api: TrackedApi) -> None:
    """new, inProgress, complete; each change of the status has its time."""
    seen: list[tuple[str, str]] = []

    async def handler(task: ActiveTask) -> None:
        shown = task.to_json()
        seen.append((shown["status"], shown["status_changed_time"]))
        with pytest.raises(TaskStateError, match="is running and can't be cancelled"):
            await api.cancel(task.id)  # the execution cannot be halted

    api.pause()
    await api.listen("slow", handler)
    task = await api.create("slow")
    seen.append((task.status, task.to_json()["status_changed_time"]))
    await asyncio.sleep(0.005)
    await api.start()
    done = await status_is(api, task.id, "completed")
    seen.append((done.status, done.to_json()["status_changed_time"]))
    assert [status for status, _ in seen] == ["pending", "running", "completed"]
    assert sorted({time for _, time in seen}) == [time for _, time in seen]
    with pytest.raises(TaskStateError):
        await api.cancel(task.id)


async def test_revoke_what_is_new(api: TrackedApi) -> None:
    """A new task, due or not, can be revoked: canceled; it is never run."""
    await api.unregister_handler("testFunction")
    for delay in (0, 60_000):
        task = await api.create("testFunction", delay=delay)
        await task.cancel()
        assert (task.status, task.next_run_time) == ("cancelled", None)
        assert task.to_json()["cancelled_time"] is not None


async def test_no_retry_policy(api: TrackedApi) -> None:
    """If an error occurs while no policy is defined, the task is failed."""
    task = await api.create("testFunction", {"fail": True})
    failed = await status_is(api, task.id, "failed")
    assert (failed.runs, failed.record.retried_by) == (1, None)


async def test_a_retry_policy(api: TrackedApi, redis: Redis, store: Store) -> None:
    """Each attempt is a new task with the same properties; all that went before are named, and the
    last is failed, with one event.
    """
    properties: dict[str, Any] = {"tags": ["t"], "priority": 3, "application": "a", "user": "u"}
    async with Subscriber(redis) as subscriber, promoting(redis, store):
        first = await api.create("testFunction", {"fail": True}, retries=2, backoff=1, **properties)
        event = await subscriber.failed()
        chain = [await api.fetch(first.id)]
        while (following := chain[-1].record.retried_by) is not None:
            chain.append(await api.fetch(following))
    assert [task.status for task in chain] == ["retried", "retried", "failed"]
    ids = [task.id for task in chain]
    assert [task.to_json()["retry_for_task_ids"] for task in chain] == [[], ids[:1], ids[:2]]
    assert event["content"]["id"] == ids[2]
    for task in chain:
        shown = task.to_json()
        same = [shown[n] for n in ("tags", "priority", "payload", "type")]
        assert same == [["t"], 3, {"fail": True}, "testFunction"]
        assert (shown["created_by_application"], shown["created_by_user"]) == ("a", "u")
    assert await redis.llen(KEYS.failed) == 1


class Picky(Task):
    """The policy's `errorsToRetry`."""

    name = "picky"
    plugins = [Retry]
    plugin_options = {
        "Retry": {"retry_limit": 5, "retry_delay": 1, "retry_exceptions": [ConnectionError]}
    }

    async def run(self, error: str) -> None:
        """Fail."""
        raise ConnectionError(error) if error == "connection" else ValueError(error)


async def test_errors_to_retry(api: TrackedApi, redis: Redis, store: Store) -> None:
    """A policy may name the errors: others fail at once."""
    await api.listen("picky", Picky)
    async with promoting(redis, store):
        good = await api.create("picky", {"error": "connection"}, retries=1)
        bad = await api.create("picky", {"error": "value"}, retries=1)
        assert (await status_is(api, bad.id, "failed")).record.retried_by is None
        old = await status_is(api, good.id, "retried")
        assert old.record.retried_by is not None
        await status_is(api, old.record.retried_by, "failed")


async def test_the_event_to_everybody(api: TrackedApi, redis: Redis) -> None:
    """`task_failed` has exactly the page's content, for handlers here and for any subscriber."""
    heard: list[Any] = []
    api.events.on("task_failed", heard.append)
    await api.events.start()
    async with Subscriber(redis) as subscriber:
        task = await api.create("testFunction", {"fail": True})
        published = await subscriber.failed()
    content = {
        "id": task.id,
        "functionName": "testFunction",
        "error": {"type": "runtime", "name": "TypeError", "message": MESSAGE},
    }
    assert published == {"type": "task_failed", "content": content}
    await wait_for(lambda: heard)
    assert heard == [content]


async def fails_by_itself(api: TrackedApi, store: Store) -> str:
    """A handler that says so."""

    async def handler(task: ActiveTask) -> None:
        await task.fail("enough")

    await api.listen("says", handler)
    return (await api.create("says")).id


async def has_wrong_inputs(api: TrackedApi, store: Store) -> str:
    """A task whose inputs are wrong."""
    await api.listen("picky", Picky)
    return (await api.create("picky", {"eror": "x"})).id


async def dies(api: TrackedApi, store: Store) -> str:
    """A worker that is never heard of again."""
    task = await api.create("dead", lock_duration=100)
    assert (await locks.claim(store, task.id, "dead", "dead:1:q#x")).ours
    await asyncio.sleep(0.11)
    await TrackedChore(store).look(api.clock.now_us())
    return task.id


async def is_unknown(api: TrackedApi, store: Store) -> str:
    """A worker of its queue that does not know it."""
    async with Workshop(store, {"other": define("other", print)}, queues="odd"):
        task = await api.create("odd")
        await status_is(api, task.id, "failed")
    return task.id


async def never_runs(api: TrackedApi, store: Store) -> str:
    """A task whose first run would be after its end."""
    now_ms = api.clock.now_ms()
    return (await api.create("testFunction", start=now_ms + 2, end=now_ms + 1)).id


@pytest.mark.parametrize(
    ("way", "name"),
    [
        (fails_by_itself, "ResqpyError"),
        (has_wrong_inputs, "InvalidInputs"),
        (dies, "zombieTaskCleaned"),
        (is_unknown, "UnknownTask"),
        (never_runs, "neverRuns"),
    ],
)
async def test_each_way_of_failing_tells(
    api: TrackedApi, redis: Redis, store: Store, way: Any, name: str
) -> None:
    """When a task reaches the `failed` status, however, the event is published, of the same form."""
    async with Subscriber(redis) as subscriber:
        task_id = await way(api, store)
        event = await subscriber.failed()
    content = event["content"]
    assert list(event) == ["type", "content"]
    assert list(content) == ["id", "functionName", "error"]
    assert content["id"] == task_id
    assert list(content["error"]) == ["type", "name", "message"]
    assert content["error"]["type"] == "runtime"
    assert content["error"]["name"] == name
    failed = await api.fetch(task_id)
    assert failed.error is not None
    assert failed.error.message == content["error"]["message"]
