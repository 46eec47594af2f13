"""Bad input: refused with an error that says what to do, and nothing written: the whole of Redis is
compared before and after.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from redis.asyncio import Redis

from resqpy.base.codec import MAX_PAYLOAD
from resqpy.base.errors import InvalidJob, UnknownOption, UnknownTask, UsageError, WrongCursor
from resqpy.framework.api.tracking import TrackedApi
from resqpy.store.connection.client import Store
from resqpy.tracked.active import ActiveTask
from resqpy.tracked.errors import DuplicateTask, UnknownTaskId
from resqpy.tracked.verbs import Tracked
from tests.support.redis_state import dump
from tests.tracked.support import Listen, known, status_is

MODULE = "tests.tracked.modules"
LONE = "\ud800"


def nested(levels: int) -> dict[str, Any]:
    """An object with so many levels."""
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def cyclic() -> dict[str, Any]:
    """An object that holds itself."""
    value: dict[str, Any] = {}
    value["again"] = [value]
    return value


@asynccontextmanager
async def unchanged(redis: Redis) -> AsyncIterator[None]:
    """Nothing is written inside."""
    before = await dump(redis)
    yield
    assert await dump(redis) == before


# What is no JSON object, by what the error says of it.
NO_PAYLOAD: list[tuple[Any, str]] = [
    ([1], "payload: .*list"),
    ("text", "payload: .*str"),
    ({"when": datetime(2026, 1, 1, tzinfo=UTC)}, r"payload\.when: datetime is not JSON; write"),
    ({"a": [float("nan")]}, r"payload\.a\[0\]: nan is not JSON; pass None or a text"),
    ({"a": float("-inf")}, r"payload\.a: -inf is not JSON"),
    ({"a": 10**400}, r"payload\.a: an integer"),
    ({"a": {1, 2}}, r"payload\.a: set is not JSON; write sorted\(value\)"),
    ({"a": b"x"}, r"payload\.a: bytes is not JSON; write base64 text"),
    ({"a": {"b": object()}}, r"payload\.a\.b: object is not JSON; pass only text"),
    ({1: 2}, "payload: the key 1 is not a text"),
    ({"a": {None: 2}}, r"payload\.a: the key None is not a text"),
    ({"a": LONE}, r"payload\.a: '.ud800' is a lone surrogate"),
    ({LONE: 1}, "payload: the key .* is a lone surrogate"),
    (cyclic(), r"payload\.again.*: nested deeper than 97 levels"),
    (nested(98), r"payload\.a.*: nested deeper than 97 levels"),
    (nested(50_000), r"payload\.a.*: nested deeper than 97 levels"),
    ({"_task_id": "x"}, "payload: '_task_id' is reserved for the task's id; use another name"),
]
NO_PAYLOAD_NAMES = [words for _, words in NO_PAYLOAD]

BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"interval": "61 * * * *"}, UsageError, "cron expression"),
    ({"interval": -5}, UsageError, "interval.*negative"),
    ({"interval": 0}, UsageError, "at least a millisecond"),
    ({"interval": "* * * * *", "timezone": "Mars/Olympus"}, UsageError, "Mars/Olympus"),
    ({"timezone": "UTC"}, UsageError, "timezone 'UTC'"),
    ({"delay": -1}, UsageError, "delay: -1 is negative"),
    ({"delay": 1, "start": 10**12}, UsageError, "start and delay"),
    ({"start": 1_700_000_000}, UsageError, "start: .* 1700000000000"),
    ({"start": datetime(2026, 1, 1)}, UsageError, "no time zone"),  # noqa: DTZ001
    ({"priority": 10}, UsageError, "from -9 to 9"),
    ({"queue": "a*b"}, UsageError, "'a\\*b'"),
    ({"tags": "one"}, UsageError, "tags: 'one'"),
    ({"retries": -1}, UsageError, "retries"),
    ({"retries": 3, "at_most_once": True}, UsageError, "at_most_once"),
    ({"backoff": -1}, UsageError, "negative"),
    ({"lock_duration": 1}, UsageError, "at least 100 ms"),
    ({"id": "a b"}, UsageError, "task id 'a b'"),
    ({"application": ""}, UsageError, "application"),
    ({"retrys": 3}, UnknownOption, "did you mean 'retries'"),
    ({"retryCount": 3}, UnknownOption, "'retryCount'; here it is 'retries'"),
    ({"max_retries": 3}, UnknownOption, "here it is 'retries'"),
    ({"retryInterval": 3}, UnknownOption, "here it is 'backoff'"),
    ({"retainFor": 3}, UnknownOption, "did you mean 'retain_for'"),
    ({"atMostOnce": True}, UnknownOption, "did you mean 'at_most_once'"),
    ({"longestExecution": 3}, UnknownOption, "did you mean 'longest_execution'"),
    ({"lockDurationMs": 3}, UnknownOption, "here it is 'lock_duration'"),
    ({"startTimestamp": 3}, UnknownOption, "here it is 'start'"),
    ({"colour": 3}, UnknownOption, "options: application, .* retries"),
    ({"interval": True}, UsageError, "neither milliseconds nor a timedelta"),
    ({"interval": "0 0 31 2 *"}, UsageError, "it never fires; there is no such day"),
    ({"interval": timedelta.max}, UsageError, "more than a thousand years"),
    ({"interval": "* * * * *", "timezone": 5}, UsageError, "pass one such as 'Europe/Berlin'"),
    ({"interval": "* * * * *", "timezone": ZoneInfo("UTC")}, UsageError, "timezone"),
    ({"delay": timedelta(-1)}, UsageError, "delay: .* is negative"),
    ({"delay": "5s"}, UsageError, "neither milliseconds nor a timedelta"),
    ({"delay": 10**20}, UsageError, "more than a thousand years"),
    ({"start": "now"}, UsageError, "nor an aware datetime"),
    ({"start": datetime.max.replace(tzinfo=UTC)}, UsageError, "before the year 10000"),
    ({"end": 5}, UsageError, "end: 5 .* 5000"),
    ({"priority": True}, UsageError, "from -9 to 9"),
    ({"queue": LONE}, UsageError, "lone surrogate"),
    ({"queue": ""}, UsageError, "use 'default'"),
    ({"tags": [1]}, UsageError, "tags: 1"),
    ({"tags": [LONE]}, UsageError, "tags"),
    ({"tags": None}, UsageError, r"use \['urgent'\]"),
    ({"retries": 1.5}, UsageError, "retries"),
    ({"backoff": 10**30}, UsageError, "more than a thousand years"),
    ({"linked": "yes"}, UsageError, "linked: 'yes'"),
    ({"enabled": "no"}, UsageError, "enabled: 'no'"),
    ({"at_most_once": 1}, UsageError, "at_most_once: 1"),
    ({"retain_for": -2}, UsageError, "retain_for: -2 is negative"),
    ({"lock_duration": None}, UsageError, "neither milliseconds nor a timedelta"),
    ({"longest_execution": -1}, UsageError, "longest_execution: -1 is negative"),
    ({"id": LONE}, UsageError, "leave it out to get one"),
    ({"id": None}, UsageError, "leave it out to get one"),
    ({"user": LONE}, UsageError, "ud800"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "error", "words"), BAD)
async def test_bad_options(
    tracked: Tracked, redis: Redis, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    """What is wrong is refused with what to do, and nothing is written."""
    async with unchanged(redis):
        with pytest.raises(error, match=words):
            await tracked.create("mail", **options)


@pytest.mark.parametrize("kind", ["", "  ", None, 5, LONE])
async def test_a_type_that_is_no_name(tracked: Tracked, redis: Redis, kind: Any) -> None:
    """A type is a name that can be written."""
    async with unchanged(redis):
        with pytest.raises(UsageError, match="task"):
            await tracked.create(kind)


@pytest.mark.parametrize(("payload", "words"), NO_PAYLOAD, ids=NO_PAYLOAD_NAMES)
async def test_a_payload_that_is_no_json(
    tracked: Tracked, redis: Redis, payload: Any, words: str
) -> None:
    """It is refused by `create` and by `save`, with the place in it, and the old one stays."""
    async with unchanged(redis):
        with pytest.raises(InvalidJob, match=words):
            await tracked.create("mail", payload)
    task = await tracked.create("mail", {"a": 1})
    task.payload = payload
    async with unchanged(redis):
        with pytest.raises(InvalidJob, match=words):
            await task.save()
    assert (await known(tracked, task.id)).payload == {"a": 1}


async def test_a_payload_that_is_too_large(tracked: Tracked, redis: Redis) -> None:
    """No worker would take its job, so it is refused, as an enqueue does."""
    async with unchanged(redis):
        with pytest.raises(InvalidJob, match=r"payload: 16777216 bytes"):
            await tracked.create("mail", {"a": "x" * (MAX_PAYLOAD - 8)})
    task = await tracked.create("mail", {"a": 1})
    task.payload["a"] = "x" * (MAX_PAYLOAD - 8)
    async with unchanged(redis):
        with pytest.raises(InvalidJob, match=r"payload: 16777216 bytes"):
            await task.save()


async def test_a_payload_that_grows_too_large_in_a_run(tracked: Tracked, listen: Listen) -> None:
    """What is saved within the run is refused too; the task may go on, and is not lost."""

    async def handler(task: ActiveTask) -> str:
        task.payload["a"] = "x" * MAX_PAYLOAD
        with pytest.raises(InvalidJob, match="16775168"):
            await task.save()
        task.payload["a"] = "short"
        return "went on"

    await listen("mail", handler)
    task = await tracked.create("mail", {"a": 1}, queue="mail")
    done = await status_is(tracked, task.id, "completed")
    assert (done.result, done.payload) == ("went on", {"a": "short"})


async def test_an_unknown_type(store: Store, redis: Redis) -> None:
    """Where the tasks are known, another is refused with the nearest name."""
    tracked = Tracked(store, types=lambda: ["send_mail"])
    with pytest.raises(UnknownTask, match="did you mean 'send_mail'"):
        await tracked.create("send_mial")
    assert await dump(redis) == {}


async def test_a_second_task_with_the_same_id(tracked: Tracked, redis: Redis) -> None:
    """An id is unique: the second task is refused, and nothing of it is written."""
    await tracked.create("mail", {"a": 1}, id="one")
    before = await dump(redis)
    with pytest.raises(DuplicateTask, match="task 'one'"):
        await tracked.create("other", {"a": 2}, id="one", tags=["x"])
    assert await dump(redis) == before


@pytest.mark.parametrize("verb", ["cancel", "retry", "enable", "disable", "fetch"])
async def test_an_id_that_nobody_has(tracked: Tracked, redis: Redis, verb: str) -> None:
    """Each verb tells so; what can't even be an id is told apart."""
    async with unchanged(redis):
        with pytest.raises(UnknownTaskId, match="there is no task 'nobody'"):
            await getattr(tracked, verb)("nobody")
        for wrong in (5, None, b"x", LONE, ""):
            with pytest.raises(UsageError, match="task id"):
                await getattr(tracked, verb)(wrong)


@pytest.mark.parametrize("verb", ["get", "remove"])
async def test_an_id_that_can_not_be_one(tracked: Tracked, redis: Redis, verb: str) -> None:
    """`get` and `remove` say None and False of an unknown id, but refuse what is none."""
    async with unchanged(redis):
        assert not await getattr(tracked, verb)("nobody")
        for wrong in (5, None, b"x", LONE, ""):
            with pytest.raises(UsageError, match="task id"):
                await getattr(tracked, verb)(wrong)


QUERIES: list[tuple[dict[str, Any], str]] = [
    ({"type": 5}, "type: 5"),
    ({"type": LONE}, "ud800"),
    ({"tags": "one"}, r"use \['one'\]"),
    ({"tags": 5}, r"use \['urgent'\]"),
    ({"tags": [LONE]}, "tags"),
    ({"application": ""}, "application: ''"),
    ({"user": 5}, "user: 5"),
    ({"status": "paused"}, "status 'paused' .*scheduled, pending"),
    ({"sort": "create"}, "did you mean 'created'"),
    ({"direction": "up"}, "direction 'up' .*asc, desc"),
    ({"page_size": 0}, "from 1 to 1000"),
    ({"page_size": "5"}, "from 1 to 1000"),
    ({"typ": "x"}, "did you mean 'type'"),
]


@pytest.mark.parametrize(("query", "words"), QUERIES)
async def test_bad_conditions(
    tracked: Tracked, redis: Redis, query: dict[str, Any], words: str
) -> None:
    """What can't be asked for is refused with what can."""
    async with unchanged(redis):
        with pytest.raises(UsageError, match=words):
            await tracked.query(**query)


async def test_bad_cursors(tracked: Tracked, redis: Redis) -> None:
    """A cursor of another query, and what is none, is refused with what to do."""
    for _ in range(3):
        await tracked.create("mail", tags=["a"])
    cursor = (await tracked.query(page_size=1, type="mail")).cursor
    others: list[dict[str, Any]] = [
        {}, {"type": "other"}, {"type": "mail", "tags": ["a"]}, {"type": "mail", "sort": "status"},
        {"type": "mail", "direction": "desc"}, {"type": "mail", "user": "me"},
    ]  # fmt: skip
    async with unchanged(redis):
        for other in others:
            with pytest.raises(WrongCursor, match="another query"):
                await tracked.query(cursor=cursor, **other)
        for wrong in ("", "x", "ä", LONE, "W10", "eyJhIjoxfQ", 5, b"x", "x" * 100_000):
            with pytest.raises(WrongCursor):
                await tracked.query(type="mail", cursor=wrong)  # type: ignore[arg-type]


HANDLERS: list[tuple[dict[str, Any], str]] = [
    ({"handler": 5}, "5 is neither function nor task"),
    ({"handler": None}, "None is neither function nor task"),
    ({"handler": "nothing"}, "'nothing' is neither function nor task"),
    ({"task_type": ""}, "task type: ''"),
    ({"task_type": 5}, "task type: 5"),
    ({"concurrency": 0}, "concurrency 0: .* 1 to 1000"),
    ({"concurrency": "5"}, "concurrency '5'"),
    ({"concurrency": 1_000_000}, "a whole number from 1 to 1000"),
    ({"queue": ""}, "the queue name is empty"),
    ({"queue": "a*b"}, "'a\\*b'"),
    ({"state_change_callback": "tell"}, "state_change_callback: 'tell' is no function"),
    ({"interceptor": 5}, "interceptor: 5 is no function"),
]


@pytest.mark.parametrize(("wrong", "words"), HANDLERS)
async def test_bad_handlers(store: Store, redis: Redis, wrong: dict[str, Any], words: str) -> None:
    """A handler that could not run is refused when it is registered, and there is none then."""
    given: dict[str, Any] = {"task_type": "mail", "handler": lambda _: None} | wrong
    async with TrackedApi(store) as api, unchanged(redis):
        with pytest.raises(UsageError, match=words):
            await api.listen(**given)
        assert api.listeners == {}


NO_METHODS = [
    ("", "method", "is not a dotted path"),
    (MODULE, "", "is not a dotted path"),
    ("nowhere.at.all", "method", "'nowhere.at.all:method'"),
    (MODULE, "methd", "did you mean 'method'"),
    (MODULE, "broken", "not a function"),
]


@pytest.mark.parametrize(("module", "method", "words"), NO_METHODS)
async def test_bad_methods(
    store: Store, redis: Redis, module: str, method: str, words: str
) -> None:
    """A module or method that is none is refused when it is registered, and another may follow."""
    async with TrackedApi(store) as api:
        async with unchanged(redis):
            with pytest.raises(UsageError, match=words):
                await api.register_handler("mail", module, method)
        await api.register_handler("mail", MODULE, "method")
