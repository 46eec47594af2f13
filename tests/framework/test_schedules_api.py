"""`api.schedules`: schedules are added, changed and removed while processes run; each mistake is told before."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy import InvalidInputs, UnknownTask, UsageError
from resqpy.framework.api.api import api
from resqpy.framework.process.process import Process
from tests.framework.conftest import MakeProject, until

TASKS = """
    from resqpy import task

    RAN = []

    @task(queue="mail")
    async def send(to: str, copies: int = 1) -> str:
        "Send a mail."
        return to

    @task(frequency=3_600_000)
    async def tick() -> None:
        "Every hour."
"""
ENTRIES, CHANGED = "resque:persistent_schedules", "resque:schedules_changed"


@pytest.fixture
async def process(make_project: MakeProject) -> AsyncIterator[Process]:
    """A process that only asks; its time zone is Berlin's."""
    project = make_project({"general.timezone": "Europe/Berlin"}, tasks__all=TASKS)
    async with Process(project, worker=False, scheduler=False) as process:
        yield process


async def entry(redis: Redis, name: str = "daily") -> Any:
    """A schedule as Ruby reads it."""
    raw = await redis.hget(ENTRIES, name)
    return None if raw is None else json.loads(raw)


async def test_it_is_one_of_rubys(process: Process, redis: Redis) -> None:
    """Complete, also where Ruby would ask the class; and its dynamic schedulers are told."""
    made = await api.schedules.add("daily", "send", {"to": "ada"}, cron="0 9 * * mon-fri")
    expected = {
        "cron": "0 9 * * mon-fri Europe/Berlin", "class": "send", "queue": "mail", "args": [{"to": "ada"}],
    }  # fmt: skip

    assert made[:3] == ("daily", None, expected)
    assert await entry(redis) == expected
    assert await redis.smembers(CHANGED) == {b"daily"}
    [shown] = [e for e in (await api.schedules.timetable()).entries if e.name == "daily"]
    assert (shown.kind, shown.state, shown.class_name) == ("ruby", "waiting", "send")
    assert shown.next is not None


async def test_a_macro_has_a_zone_as_well(process: Process, redis: Redis) -> None:
    """It is written out, as Ruby knows none with a zone."""
    made = await api.schedules.add("daily", "send", {"to": "ada"}, cron="@daily")

    assert made.after is not None
    assert made.after["cron"] == "0 0 * * * Europe/Berlin"


async def test_what_is_given_is_changed(process: Process, redis: Redis) -> None:
    """And nothing else: what only Ruby knows stays; what it was can be written back."""
    theirs = {"every": ["1h", {"first_in": "5m"}], "class": "send", "args": [{"to": "ada"}], "x": 1}
    await redis.hset(ENTRIES, "daily", json.dumps(theirs))
    first = await api.schedules.change("daily", inputs={"to": "bob"})
    second = await api.schedules.change("daily", every=timedelta(minutes=90), queue="mail")
    third = await api.schedules.change("daily", cron="0 9 * * * UTC", description="early")
    tried = await api.schedules.change("daily", "tick", {}, dry_run=True)

    assert first.before == theirs
    assert first.after == {**theirs, "queue": "mail", "args": [{"to": "bob"}]}
    assert second.after is not None
    assert (second.after["every"], second.after["x"]) == ("5400s", 1)
    assert third.after == await entry(redis)
    assert third.after == {
        "cron": "0 9 * * * UTC", "class": "send", "queue": "mail", "args": [{"to": "bob"}], "x": 1,
        "description": "early",
    }  # fmt: skip
    assert tried.after is not None
    assert (tried.after["class"], tried.after["queue"]) == ("tick", "default")


@pytest.mark.parametrize(
    "given",
    [
        {"name": "\ud800"},
        {"name": 5},
        {"description": 5},
        {"description": "\ud800"},
        {"queue": 5},
        {"every": None, "cron": "0 9 * * *", "timezone": 5},
        {"task": "Theirs", "inputs": "abc", "foreign": True, "queue": "q"},
        {"task": "Theirs", "inputs": 5, "foreign": True, "queue": "q"},
    ],
)
async def test_what_is_of_another_type(
    given: dict[str, Any], process: Process, redis: Redis
) -> None:
    """Refused as any other mistake; a text is no list of letters."""
    usual: dict[str, Any] = {"name": "daily", "task": "send", "inputs": {"to": "ada"}}
    with pytest.raises(UsageError):
        await api.schedules.add(**usual | {"every": 60_000} | given)
    for verb in (api.schedules.pause, api.schedules.remove, api.schedules.history):
        with pytest.raises(UsageError):
            await verb(5)  # type: ignore[arg-type]
    assert await redis.exists(ENTRIES) == 0


async def test_it_is_removed_with_what_is_known_of_it(process: Process, redis: Redis) -> None:
    """Another one of that name is not paused, and has not run."""
    await api.schedules.add("daily", "send", {"to": "ada"}, every=60_000)
    await api.schedules.pause("daily")
    await redis.hset("resque:delayed:last_enqueued_at", "daily", "2026-11-30 04:00:00 +0000")
    assert (await api.schedules.remove("daily", dry_run=True)).before is not None
    assert await entry(redis) is not None
    removed = await api.schedules.remove("daily")

    assert removed.before is not None
    assert removed.after is None
    assert (
        await redis.exists(ENTRIES, "resque:resqpy:ruby:paused", "resque:delayed:last_enqueued_at")
        == 0
    )
    assert [each.name for each in (await api.schedules.timetable()).entries] == ["tick"]


async def test_of_another_language(process: Process, redis: Redis) -> None:
    """It is written as given."""
    await api.schedules.add("daily", "Report", [1, "x"], every=500, queue="ruby", foreign=True)

    assert await entry(redis) == {
        "every": "0.5s",
        "class": "Report",
        "queue": "ruby",
        "args": [1, "x"],
    }


@pytest.mark.parametrize(
    ("given", "more", "kind", "words"),
    [
        (["daily", "sent"], {"every": 60_000}, UnknownTask, "did you mean 'send'"),
        (["daily", "send", {"two": "ada"}], {"every": 60_000}, InvalidInputs, "did you mean 'to'"),
        (["daily", "send", {"to": "a"}], {"every": 60_000, "queue": "maill"}, UsageError, "'mail'"),
        (["daily", "send", {"to": "a"}], {}, UsageError, "cron or every"),
        (["daily", "send", {"to": "a"}], {"cron": "0 9 * *"}, UsageError, "0 9"),
        (["daily", "send", {"to": "a"}], {"cron": "@daily", "every": 1}, UsageError, "both"),
        (["daily", "send", {"to": "a"}], {"every": 60_000, "timezone": "UTC"}, UsageError, "UTC"),
        (["daily", "send", {"to": "a"}], {"cron": "@daily", "timezone": "Berlin"}, UsageError, "Berlin"),
        (["daily", "send", {"to": "a"}], {"every": 100}, UsageError, "rufus"),
        (["daily", "Report"], {"every": 60_000, "foreign": True}, UsageError, "its queue"),
        (["tick"], {"every": 60_000}, UsageError, "periodic task"),
        (["", "send", {"to": "a"}], {"every": 60_000}, UsageError, "name"),
    ],
)  # fmt: skip
async def test_mistakes(
    process: Process, redis: Redis, given: Any, more: Any, kind: type[Exception], words: str
) -> None:
    """With the nearest name; nothing is written."""
    with pytest.raises(kind, match=words):
        await api.schedules.add(*given, **more)
    assert await redis.exists(ENTRIES, CHANGED) == 0


async def test_what_is_there_or_not(process: Process, redis: Redis) -> None:
    """Added twice, changed before it is there, or a task that says in its code when it runs."""
    await api.schedules.add("daily", "send", {"to": "ada"}, every=60_000)
    with pytest.raises(UsageError, match="already"):
        await api.schedules.add("daily", "send", {"to": "ada"}, every=60_000)
    with pytest.raises(UnknownTask, match="did you mean 'daily'"):
        await api.schedules.change("dayly", every=60_000)
    with pytest.raises(UnknownTask, match="did you mean 'daily'"):
        await api.schedules.remove("dayly")
    with pytest.raises(UsageError, match="in its code"):
        await api.schedules.remove("tick")


async def test_two_at_once(process: Process, redis: Redis) -> None:
    """One wins, the other is told; no change is lost."""
    await api.schedules.add("daily", "send", {"to": "ada"}, every=60_000)
    changes = [api.schedules.change("daily", every=(60 + n) * 1000) for n in range(8)]
    done = await asyncio.gather(*changes, return_exceptions=True)
    good = [each for each in done if not isinstance(each, BaseException)]

    assert good
    assert all("somebody else" in str(e) for e in done if isinstance(e, BaseException))
    assert await entry(redis) in [each.after for each in good]


async def test_it_fires_and_is_noted(make_project: MakeProject, redis: Redis) -> None:
    """By a scheduler that has been running; after its removal no more."""
    project = make_project({"tasks.queues": ["mail"]}, tasks__all=TASKS)
    async with Process(project, worker=True, scheduler=True) as process:
        ended: list[str] = []
        worker: Any = process.resque.multi_worker
        worker.on("success", lambda *told: ended.append(told[3]))
        await asyncio.to_thread(api.sync.schedules.add, "soon", "send", {"to": "ada"}, every=300)
        await until(lambda: ended[:2] == ["ada", "ada"])
        await api.schedules.change("soon", inputs={"to": "bob"})
        await until(lambda: "bob" in ended)
        fires = await api.schedules.history("soon")
        await api.schedules.remove("soon")

        async def no_note() -> bool:
            return not await redis.hexists("resque:resqpy:ruby:next", "soon")

        await until(no_note)

    assert len(fires) >= 3
    assert {each.outcome for each in fires} == {"enqueued"}
