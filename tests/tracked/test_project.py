"""Tracked tasks in a project: `api.tracked` beside the project's own tasks, worker and scheduler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy.base.errors import InvalidInputs, UnknownTask
from resqpy.framework.api.api import api
from resqpy.framework.process.process import Process
from resqpy.framework.project.project import Project
from resqpy.tracked.active import ActiveTask
from resqpy.tracked.processing import CallNext, Operation
from resqpy.tracked.verbs import Tracked
from tests.tracked.support import KEYS, check_indexes, status_is

TASKS = '''
from resqpy import Task
from resqpy.framework.api.tracking import current_task

class SendMail(Task):
    """Send a mail."""
    name = "sendMail"
    queue = "mail"

    async def run(self, to: str) -> dict:
        task = current_task()
        if task is None:
            return {"tracked": False}
        task.payload["sent"] = True
        await task.save()
        return {"tracked": True, "to": to}
'''


@pytest.fixture
def project(tmp_path: Path, redis_url: str) -> Project:
    """A project with one task."""
    (tmp_path / "tasks").mkdir()
    (tmp_path / "config").mkdir()
    (tmp_path / "tasks" / "mail.py").write_text(TASKS)
    overrides: dict[str, Any] = {"redis.url": redis_url, "tasks.timeout": 100}
    return Project.load(tmp_path, "test", overrides)


async def test_a_task_of_the_project(project: Project, redis: Redis) -> None:
    """A project's task is created as a tracked one, in its own queue, promoted and run; its inputs
    are checked without the id, when it is created and before it runs, and it can ask for its active task.
    """
    saved: list[str | None] = []

    async def interceptor(operation: Operation, call_next: CallNext) -> None:
        if operation.verb == "save":
            saved.append(operation.subject)
        await call_next()

    async with Process(project, worker=True, scheduler=True):
        api.tracked.interceptors.append(interceptor)
        now = await api.tracked.create("sendMail", {"to": "a@b.c"})
        later = await api.tracked.create("sendMail", {"to": "later"}, delay=300)
        with pytest.raises(InvalidInputs, match="input 'too' is unknown; did you mean 'to'"):
            await api.tracked.create("sendMail", {"too": "a@b.c"})
        foreign = Tracked(api.tracked.store)  # knows no inputs
        bad = await foreign.create("sendMail", {"too": "a@b.c"}, queue="mail")
        assert now.queue == "mail"
        done = await status_is(api.tracked, now.id, "completed")
        assert done.result == {"tracked": True, "to": "a@b.c"}
        assert done.payload == {"to": "a@b.c", "sent": True}
        assert saved[0] == now.id
        await status_is(api.tracked, later.id, "completed")
        failed = await status_is(api.tracked, bad.id, "failed")
        assert failed.error is not None
        assert failed.error.name == "InvalidInputs"
        with pytest.raises(UnknownTask, match="did you mean 'sendMail'"):
            await api.tracked.create("sendMial")
    assert await redis.llen(KEYS.failed) == 1
    await check_indexes(redis)


async def test_a_handler_of_user_code(project: Project, redis: Redis) -> None:
    """User code may register a handler for a type of its own in the same process."""

    async def handler(task: ActiveTask) -> int:
        return int(task.payload["n"]) * 2

    async with Process(project, worker=False):
        await api.tracked.listen("double", handler)
        task = await api.tracked.create("double", {"n": 21})
        assert (await status_is(api.tracked, task.id, "completed")).result == 42
    await check_indexes(redis)
