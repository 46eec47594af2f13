"""Periodic tasks of a project: enqueued when a process starts, once in the cluster, until stopped."""

from __future__ import annotations

import time
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy.base.errors import UnknownTask
from resqpy.engine.run import current_run
from resqpy.framework.api.api import api
from resqpy.framework.process.process import Process
from resqpy.framework.project.project import Project
from tests.framework.conftest import MakeProject, until

TASKS = """
import time
from resqpy import Task, task
from resqpy.engine.run import current_run

RAN = []

class SayHello(Task):
    '''I say hello.'''
    name = "sayHello"
    queue = "default"
    frequency = 100

    async def run(self, params, worker):
        RAN.append(("hello", time.monotonic(), current_run.get().scheduled_at, params))

@task("sayGoodbye", frequency=100)
def goodbye():
    '''I say goodbye, and fail.'''
    RAN.append(("goodbye", time.monotonic(), None, None))
    raise LookupError("oh")

@task(frequency=100, re_enqueue_on_exception=False)
def once():
    '''I fail, and that's it.'''
    RAN.append(("once", time.monotonic(), None, None))
    raise LookupError("oh")

@task(cron="* * * * * *", timezone="Europe/Berlin")
async def each_second():
    '''I run each second.'''
    RAN.append(("cron", time.monotonic(), current_run.get().scheduled_at, None))

@task(queue="default")
async def plain(): "I am not periodic."
"""


def ran(project: Project, what: str) -> list[Any]:
    """The runs of a task."""
    found = project.registry.task("plain").run.__globals__["RAN"]
    return [each for each in found if each[0] == what]


async def test_they_run_by_themselves(make_project: MakeProject) -> None:
    """At their frequency, however they end (unless told otherwise), with the time that was meant."""
    project = make_project(tasks__a=TASKS)
    async with Process(project, worker=True, scheduler=True):
        await until(lambda: len(ran(project, "hello")) >= 8)
        await until(lambda: len(ran(project, "goodbye")) >= 5)
        await until(lambda: len(ran(project, "cron")) >= 1)
    hello = ran(project, "hello")
    took_s = hello[7][1] - hello[0][1]

    assert 0.5 < took_s < 10
    assert hello[0][3] == {}
    assert hello[1][2] > hello[0][2]
    assert len(ran(project, "once")) == 1
    [*_, (_, _, at, _)] = ran(project, "cron")
    assert at.microsecond == 0


async def test_one_job_however_many_processes(make_project: MakeProject) -> None:
    """Two processes with workers, one of them with a scheduler: the rhythm is that of one task."""
    project = make_project(tasks__a=TASKS)
    async with (
        Process(project, worker=True, scheduler=True),
        Process(project, worker=True, scheduler=False),
    ):
        await until(lambda: len(ran(project, "hello")) >= 1)
        began, seen = time.monotonic(), len(ran(project, "hello"))
        await until(lambda: len(ran(project, "hello")) >= seen + 5)
        assert time.monotonic() - began > 0.35


async def test_starting_and_stopping_one(make_project: MakeProject, redis: Redis) -> None:
    """`stop_recurrent_job`, `enqueue_recurrent_job`, `enqueue_all_recurrent_jobs`."""
    project = make_project(tasks__a=TASKS)
    async with Process(project, worker=True, scheduler=True):
        await until(lambda: ran(project, "hello"))
        assert "sayHello" not in await api.tasks.enqueue_all_recurrent_jobs()
        await api.tasks.stop_recurrent_job("sayHello")
        assert await api.tasks.recurrent.resume("sayHello") is False
        await until(lambda: _nothing_out(redis))
        before = len(ran(project, "hello"))
        await until(lambda: len(ran(project, "goodbye")) >= 8)
        assert len(ran(project, "hello")) <= before + 1
        assert await api.tasks.enqueue_recurrent_job("sayHello")
        await until(lambda: len(ran(project, "hello")) >= before + 3)
        with pytest.raises(UnknownTask):
            await api.tasks.enqueue_recurrent_job("plain")


async def _nothing_out(redis: Redis) -> bool:
    return "sayHello" not in str(await redis.lrange("resque:queue:default", 0, -1))


async def test_a_worker_announces_what_another_leads(make_project: MakeProject) -> None:
    """A scheduler without the project's code runs the tasks that a worker process has."""
    project = make_project(tasks__a=TASKS)
    bare = make_project()
    bare.registry.tasks.clear()
    bare.registry.definitions.clear()
    async with (
        Process(bare, worker=False, scheduler=True),
        Process(project, worker=True, scheduler=False),
    ):
        await until(lambda: len(ran(project, "hello")) >= 3)


def test_outside_a_run_there_is_none() -> None:
    """`current_run` is of a run only."""
    assert current_run.get(None) is None
