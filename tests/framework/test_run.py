"""From enqueueing to the run: what a task's own function gets, and what becomes of what it raises."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy.base.errors import InvalidInputs, UnknownTask
from resqpy.base.model import Enqueued
from resqpy.framework.api.api import api
from resqpy.framework.process.process import Process
from resqpy.framework.project.project import Project
from tests.framework.conftest import MakeProject, until

TASKS = """
from resqpy import Input, Task, api, task

SEEN = []

class Old(Task):
    '''ActionHero's way.'''
    async def run(self, params, worker):
        SEEN.append(("old", params, type(worker).__name__))

class ByName(Task):
    '''Inputs by name.'''
    inputs = {"to": Input(formatter=str.lower)}
    def run(self, to: str, copies: int = 1, *, worker=None):
        SEEN.append(("byName", to, copies, type(worker).__name__))

@task()
def rest(a: int, **others):
    '''Takes the rest.'''
    SEEN.append(("rest", a, others))

@task()
async def chain(n: int):
    '''Enqueues by itself.'''
    SEEN.append(("chain", n))
    if n:
        await chain.enqueue(n - 1)

@task()
async def wrong():
    '''Fails.'''
    raise LookupError("nothing found")

@task(retry={"retry_limit": 9, "retry_delay": 60_000})
def picky(a: int):
    '''Has a retry, which is not for wrong inputs.'''
"""


def seen(project: Project) -> list[Any]:
    """What the tasks of the project have seen."""
    found: list[Any] = project.registry.task("old").run.__globals__["SEEN"]
    return found


async def test_run_gets_its_inputs(make_project: MakeProject) -> None:
    """As a dict with the worker, by name with defaults and formatters, with the rest."""
    project = make_project(tasks__a=TASKS)
    async with Process(project, worker=True):
        assert await api.tasks.enqueue("old", {"a": 1, "b": [2]})
        assert await api.tasks.enqueue("byName", {"to": "ADA"})
        assert await project.registry.task("byName").defined.enqueue("Bob", copies=2)
        assert await project.registry.task("rest").defined.enqueue(1, b=2)
        await until(lambda: len(seen(project)) == 4)

    assert sorted(seen(project)) == [
        ("byName", "ada", 1, "MultiWorker"),
        ("byName", "bob", 2, "MultiWorker"),
        ("old", {"a": 1, "b": [2]}, "MultiWorker"),
        ("rest", 1, {"b": 2}),
    ]


async def test_a_task_enqueues_a_task(make_project: MakeProject) -> None:
    """`api` and a task's own verbs work inside a run."""
    project = make_project(tasks__a=TASKS)
    async with Process(project, worker=True):
        await api.tasks.enqueue("chain", {"n": 3})
        await until(lambda: len(seen(project)) == 4)

    assert seen(project) == [("chain", 3), ("chain", 2), ("chain", 1), ("chain", 0)]


async def test_raising_fails_the_job(make_project: MakeProject) -> None:
    """The failed entry has the class, the words and the traceback, without our frames."""
    async with Process(make_project(tasks__a=TASKS), worker=True):
        await api.tasks.enqueue("wrong")
        await until(api.tasks.failed_count)
        [failed] = await api.tasks.failed()

    assert (failed.exception, failed.error) == ("LookupError", "nothing found")
    assert failed.payload == {"class": "wrong", "queue": "default", "args": [{}]}
    assert any("tasks/a.py" in line for line in failed.backtrace)
    assert not any("resqpy/framework" in line for line in failed.backtrace)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ("[]", "task 'picky': input 'a' is required"),
        ('[{"a": "x"}]', "task 'picky': input 'a' must be int, got 'x' (str)"),
        (
            "[1, 2]",
            (
                "task 'picky' takes one object with its inputs as its only argument;"
                " the job's args are [1, 2] (run takes them by position if a / stands behind its"
                " parameters)"
            ),
        ),
    ],
)
async def test_what_a_foreign_client_enqueues_is_checked_before_the_run(
    make_project: MakeProject, redis: Redis, args: str, words: str
) -> None:
    """It fails with a clear reason, at once: no retry makes it right."""
    async with Process(make_project(tasks__a=TASKS), worker=True):
        await redis.sadd("resque:queues", "default")
        await redis.rpush("resque:queue:default", f'{{"class":"picky","args":{args}}}')
        await until(api.tasks.failed_count)
        [failed] = await api.tasks.failed()

        assert (failed.exception, failed.error) == ("InvalidInputs", words)
        assert await api.tasks.timestamps() == []


async def test_what_is_wrong_is_refused_when_enqueued(
    make_project: MakeProject, redis: Redis
) -> None:
    """By name, by handle, delayed, in bulk: nothing is written."""
    project = make_project(tasks__a=TASKS)
    picky = project.registry.task("picky").defined
    async with Process(project):
        with pytest.raises(UnknownTask, match="there is no task 'pickie'; did you mean 'picky'"):
            await api.tasks.enqueue("pickie")
        for wrong in (
            api.tasks.enqueue("picky", {"a": "x"}),
            api.tasks.enqueue_in(1, "picky", {}),
            api.tasks.enqueue_at(10**12 * 3, "picky", {"b": 1}),
            api.tasks.enqueue_many([("picky", {"a": 1}), ("picky", {})]),
            api.tasks.enqueue("picky", [1]),  # type: ignore[arg-type]  # that is the point
            picky.enqueue("x"),
            picky.enqueue(1, 2),
            picky.enqueue(1, a=1),
        ):
            with pytest.raises(InvalidInputs):
                await wrong

    assert await redis.keys("*") == []


async def test_a_copy_of_a_tasks_module_is_the_same_task(make_project: MakeProject) -> None:
    """`from modules.auth.tasks.b import …` in user code finds the loaded task, by its full name."""
    project = make_project(
        modules__auth__tasks__b="""
        from resqpy import Task

        class Check(Task):
            '''I check.'''
            def run(self): ...
        """
    )
    async with Process(project):
        from modules.auth.tasks.b import Check  # type: ignore[import-not-found]

        await Check.enqueue()
        [job] = await api.tasks.queued("default")

    assert job.class_name == "auth.check"


async def test_verbs_of_a_handle(make_project: MakeProject) -> None:
    """On another queue, delayed, in bulk."""
    project = make_project(tasks__a=TASKS)
    picky = project.registry.task("picky").defined
    async with Process(project):
        await picky.on("high").enqueue(1)
        await picky.on("high").enqueue_in(60_000, a=2)
        await picky.enqueue_at(4_000_000_000_000, a=3)
        done = await picky.enqueue_many([picky.job(4), {"a": 5}, picky.on("low").job(a=6)])

        assert done == [Enqueued()] * 3
        assert await api.tasks.queues() == ["default", "high", "low"]
        assert [job.args for job in await api.tasks.queued("default")] == [[{"a": 4}], [{"a": 5}]]
        delayed = [job for jobs in (await api.tasks.all_delayed()).values() for job in jobs]
        assert [job.args[0] for job in delayed] == [{"a": 2}, {"a": 3}]
