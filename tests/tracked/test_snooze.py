"""Tracked tasks that are snoozed: the record counts that; attempts and their delays are as without."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy.framework.api.api import api
from resqpy.framework.process.process import Process
from resqpy.framework.project.project import Project
from resqpy.store.connection.client import Store
from tests.support.waiting import wait_for
from tests.tracked.support import promoting, status_is

TASKS = '''
from datetime import timedelta
from resqpy import Snooze, current_run, current_task, task

SHORT = timedelta(milliseconds=20)

@task("sleepy", retry={"retry_limit": 3, "backoff_strategy": [10, 20]})
def sleepy(until: int, most: int, fails: int = 0) -> list[int]:
    """Snoozes so often; then fails so often."""
    count, attempts = current_run.get().snoozed, current_task().attempts
    if count < until:
        raise Snooze(SHORT, reason="early", most=most)
    if attempts < fails:
        raise ConnectionError
    return [count, attempts]

@task("once", at_most_once=True)
async def once() -> int:
    """Snoozes once, which it asks for itself."""
    if not current_run.get().snoozed:
        raise Snooze(SHORT)
    return current_run.get().snoozed

@task("rests")
async def rests() -> None:
    """Snoozes for long."""
    raise Snooze(timedelta(hours=1))
'''
Ends = list[str]


@pytest.fixture
async def ends(tmp_path: Path, redis_url: str, redis: Redis, store: Store) -> AsyncIterator[Ends]:
    """The ends of runs in a process with these tasks."""
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "mine.py").write_text(TASKS)
    project = Project.load(tmp_path, "test", {"redis.url": redis_url, "tasks.timeout": 100})
    found: Ends = []
    async with Process(project, worker=True) as process, promoting(redis, store):
        worker: Any = process.resque.multi_worker
        for event in ("success", "failure", "re_enqueue", "snoozed"):

            def heard(*_: Any, event: str = event) -> None:
                found.append(event)

            worker.on(event, heard)
        yield found


async def ended(ends: Ends, *events: str) -> None:
    """Wait for these ends, in this order: they are told once they are written."""
    await wait_for(lambda: len(ends) >= len(events))
    assert ends == [*events]


async def test_the_record_counts(ends: Ends) -> None:
    """Of the run that goes on; attempts stay as they are."""
    task = await api.tracked.create("rests")
    task = await status_is(api.tracked, task.id, "scheduled")

    assert (task.snoozed, task.attempts, task.runs, task.error) == (1, 0, 0, None)
    await ended(ends, "snoozed")


async def test_attempts_are_as_without(ends: Ends) -> None:
    """Snoozed twice, failed twice: the third attempt of three succeeds; its run is over, so is its count."""
    task = await api.tracked.create("sleepy", {"until": 2, "most": 2, "fails": 2})
    task = await status_is(api.tracked, task.id, "completed")

    assert (task.result, task.runs, task.snoozed) == ([2, 2], 1, 0)
    await ended(ends, "snoozed", "snoozed", "re_enqueue", "re_enqueue", "success")


async def test_so_often_and_no_more(ends: Ends) -> None:
    """It has failed, and is not retried."""
    task = await api.tracked.create("sleepy", {"until": 9, "most": 2})
    task = await status_is(api.tracked, task.id, "failed")

    assert task.error is not None
    assert (task.error.name, task.runs) == ("SnoozedTooOften", 1)
    await ended(ends, "snoozed", "snoozed", "failure")


async def test_what_runs_at_most_once(ends: Ends) -> None:
    """Asked for it itself."""
    task = await api.tracked.create("once")
    task = await status_is(api.tracked, task.id, "completed")

    assert task.result == 1
