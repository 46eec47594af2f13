"""Who says how a tracked task is tried again: its creator, else its definition, else a preset."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy.base.when import Backoff
from resqpy.engine.definition import define
from resqpy.framework.api.api import api
from resqpy.framework.process.process import Process
from resqpy.framework.project.project import Project
from resqpy.store.connection.client import Store
from resqpy.tracked.handle import TrackedTask
from resqpy.tracked.verbs import Tracked
from tests.support.waiting import wait_for
from tests.tracked.support import Workshop, promoting, status_is

HOUR_MS = 3_600_000
TASKS = '''
from resqpy import Task, task

@task("by_options", retry={"retry_limit": 8, "retry_delay": 1, "fatal_exceptions": ["builtins.KeyError"]})
async def by_options(fatal: bool = False) -> None:
    """Fail."""
    raise KeyError("fatal") if fatal else ValueError("again")

@task("by_number", retry=7, plugin_options={"Retry": {"retry_delay": 1}})
def by_number() -> None:
    """Fail."""
    raise ValueError("again")

@task("by_plugin", plugins=["Retry"], plugin_options={"Retry": {
    "retry_limit": 8, "backoff_strategy": [1, 2, 3], "retry_exceptions": ["builtins.ValueError"]}})
async def by_plugin(fatal: bool = False) -> None:
    """Fail."""
    raise KeyError("fatal") if fatal else ValueError("again")

class ByClass(Task):
    """Fail."""
    name = "by_class"
    retry = {"retry_limit": 8, "retry_delay": 1, "backoff_strategy": "exponential"}

    async def run(self) -> None:
        raise ValueError("again")

@task("never", retry=0)
async def never() -> None:
    """Fail."""
    raise ValueError("no")

@task("silent")
async def silent() -> None:
    """Fail."""
    raise ValueError("again")
'''
PRESETS = ["irontask", "extra_horizon", "twin"]
KINDS = ["by_options", "by_number", "by_plugin", "by_class"]


@asynccontextmanager
async def opened(
    folder: Path, url: str, preset: str, *, worker: bool = True
) -> AsyncIterator[Counter[str]]:
    """A process with those tasks; how often each ended an attempt in failure."""
    (folder / "tasks").mkdir()
    (folder / "tasks" / "mine.py").write_text(TASKS)
    settings = {"redis.url": url, "tasks.timeout": 100, "tasks.tracked_preset": preset}
    project = Project.load(folder, "test", settings)
    failed: Counter[str] = Counter()
    async with Process(project, worker=worker) as process:
        multi_worker = process.resque.multi_worker
        if multi_worker is not None:
            for event in ("failure", "re_enqueue"):
                multi_worker.on(event, lambda _, __, job, *___: failed.update([job.class_name]))
        yield failed


@pytest.mark.parametrize("preset", PRESETS)
async def test_the_definitions_own(
    tmp_path: Path, redis_url: str, redis: Redis, store: Store, preset: str
) -> None:
    """However it is defined: as many runs as the plain task has, under each preset."""
    async with opened(tmp_path, redis_url, preset) as failed, promoting(redis, store):
        tasks = [await api.tracked.create(kind, retain_for=None) for kind in KINDS]
        assert [task.retries for task in tasks] == [7] * 4
        await wait_for(lambda: all(failed[kind] >= 8 for kind in KINDS))
        never = await api.tracked.create("never", retain_for=None)
        ended = await status_is(api.tracked, never.id, "failed")
    assert failed == {**dict.fromkeys(KINDS, 8), "never": 1}
    assert (never.retries, ended.retries_remaining) == (0, 0)


async def test_errors_that_are_not_tried_again(
    tmp_path: Path, redis_url: str, redis: Redis, store: Store
) -> None:
    """Lists of exceptions hold as well, of those that are fatal and of those that alone are retried."""
    async with opened(tmp_path, redis_url, "irontask") as failed, promoting(redis, store):
        for kind in ("by_options", "by_plugin"):
            task = await api.tracked.create(kind, {"fatal": True})
            after = await status_is(api.tracked, task.id, "failed")
            assert (after.runs, after.retries_remaining) == (1, 0)
    assert failed == {"by_options": 1, "by_plugin": 1}


async def test_what_the_creator_says(
    tmp_path: Path, redis_url: str, redis: Redis, store: Store
) -> None:
    """It wins: fewer retries, more of them, other waits."""
    async with opened(tmp_path, redis_url, "irontask") as failed, promoting(redis, store):

        def told_of(kind: str, runs: int) -> bool:
            return failed[kind] >= runs  # told once it is written

        for kind, retries in (("by_options", 1), ("by_number", 9), ("never", 2), ("by_class", 0)):
            task = await api.tracked.create(kind, retries=retries, backoff=1)
            await status_is(api.tracked, task.id, "failed")
            await wait_for(partial(told_of, kind, retries + 1))
        assert failed == {"by_options": 2, "by_number": 10, "never": 3, "by_class": 1}
        task = await api.tracked.create("by_plugin", backoff=60_000)
        after = await status_is(api.tracked, task.id, "scheduled")
    assert after.retries == 7
    assert after.next_run_time is not None
    assert (after.next_run_time - after.create_time).total_seconds() >= 60


@pytest.mark.parametrize(
    ("preset", "silent"),
    [("irontask", (4, 3.5)), ("extra_horizon", (0, 2.0)), ("twin", (None, 1.0))],
)
async def test_presets_fill_what_nobody_said(
    tmp_path: Path, redis_url: str, preset: str, silent: tuple[Any, float]
) -> None:
    """Of a task that says nothing; of others only what they can't say."""
    async with opened(tmp_path, redis_url, preset, worker=False):
        said_nothing = await api.tracked.create("silent")
        others = [await api.tracked.create(kind, id=kind) for kind in KINDS]
    assert (said_nothing.retries, said_nothing.backoff.factor) == silent
    assert {each.linked for each in others} == {preset == "extra_horizon"}
    waits = {each.id: each.backoff for each in others}
    assert waits == {
        "by_options": Backoff.fixed(1),
        "by_number": Backoff.fixed(1),
        "by_plugin": Backoff.fixed(1),
        "by_class": Backoff(1, 2.0, 86_400_000),
    }


async def test_a_creator_that_does_not_know_the_task(
    tracked: Tracked, store: Store, redis: Redis
) -> None:
    """Its worker does, and goes by the definition; what the creator said himself holds."""
    ran: Counter[str] = Counter()

    async def fails(inputs: dict[str, Any]) -> None:
        ran[inputs["name"]] += 1
        raise ValueError("again")

    options = {"Retry": {"retry_limit": 7, "retry_delay": 1}}
    task = define("mail", fails, plugins=["Retry"], plugin_options=options)
    made: list[TrackedTask] = [
        await tracked.create("mail", {"name": "silent"}, queue="mail", id="silent"),
        await tracked.create("mail", {"name": "one"}, queue="mail", id="one", retries=1),
        await tracked.create("mail", {"name": "two"}, queue="mail", id="two", retries=2, backoff=2),
    ]
    async with promoting(redis, store), Workshop(store, {"mail": task}):
        for each in made:
            await status_is(tracked, each.id, "failed")
    assert ran == {"silent": 7, "one": 2, "two": 3}


@pytest.mark.parametrize("given", [{}, {"delay": 5000}, {"interval": 60_000}, {"end": None}])
async def test_an_end_by_definition(store: Store, given: dict[str, Any]) -> None:
    """The sooner of a task's `expires` and `deadline`, from its start, unless its creator said, or it recurs."""
    job = define("mail", print, expires=HOUR_MS, deadline=2 * HOUR_MS)
    tracked = Tracked(store, definition_of=lambda _: job)

    record = (await tracked.create("mail", {}, **given)).record

    begins_ms = record.created_us // 1000 + given.get("delay", 0)
    assert record.end_ms == (
        begins_ms + HOUR_MS if "interval" not in given and "end" not in given else None
    )
