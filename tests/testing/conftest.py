"""A small project, and the plugin's own fixtures on it."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from resqpy.testing.plugin import (  # noqa: F401 - fixtures
    resqpy_clock,
    resqpy_overrides,
    resqpy_process,
    resqpy_project,
    resqpy_redis,
    resqpy_redis_server,
)

TASKS = """
import asyncio
from resqpy import Input, Snooze, Task, api, current_run, current_task, task

class SendWelcomeEmail(Task):
    '''Send a mail.'''
    queue = "mail"
    middleware = ["counting"]
    inputs = {"to": Input(validator=lambda value: "@" in value, formatter=str.lower)}
    async def run(self, to: str, subject: str = "Welcome", *, worker):
        return {"to": to, "subject": subject, "queue": worker.queue is api.resque.queue}

@task(queue="low", plugins=["QueueLock"])
def count_words(text: str) -> int:
    '''Count words, in a thread.'''
    return len(text.split())

@task(retry={"retry_limit": 3, "retry_delay": 60_000})
async def flaky() -> None:
    '''Fails always.'''
    raise ConnectionError("no network")

@task()
async def again(left: int) -> None:
    '''Enqueues itself, to queues that nobody knows yet.'''
    if left:
        await again.on(f"q{left}").enqueue(left=left - 1)

@task(retry={"retry_limit": 2, "retry_delay": 60_000})
def sleepy(until: int) -> int:
    '''Snoozes so often, two times at most.'''
    count = current_run.get().snoozed
    if count < until:
        raise Snooze(60_000, reason="too early", most=2)
    return count

@task("whoAmI")
def who_am_i() -> str | None:
    '''The id of the tracked task that runs it.'''
    active = current_task()
    return None if active is None else active.id

@task(time_limit=10)
async def slow() -> None:
    '''Too slow.'''
    await asyncio.sleep(5)

@task(frequency=1000)
async def tick() -> str:
    '''Every second.'''
    return "tick"

@task(cron="0 9 * * *", queue="cron")
async def report() -> None:
    '''Every morning.'''
"""

MIDDLEWARE = """
from resqpy import Middleware

class Counting(Middleware):
    def post_processor(self, call):
        if call.error is None:
            call.result["counted"] = True
"""


@pytest.fixture
def resqpy_root(tmp_path: Path) -> Path:
    """The project's folder."""
    root = tmp_path / "demo"
    for name, text in {"tasks/all.py": TASKS, "middleware/counting.py": MIDDLEWARE}.items():
        (root / name).parent.mkdir(parents=True)
        (root / name).write_text(dedent(text))
    return root
