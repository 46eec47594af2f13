"""`on_failure`: every failure of a job reaches the middleware that wants to hear of it."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy import JobFailure, api
from resqpy.base import codec
from resqpy.base.errors import (
    InvalidInputs,
    JobTimeout,
    PayloadError,
    PoisonPill,
    UnknownTask,
    WorkerDied,
)
from resqpy.framework.process.process import Process
from resqpy.framework.project.project import Project
from resqpy.testing import drain
from resqpy.tracked import locks
from tests.engine.test_rescue import INCARNATION, die_with
from tests.framework.conftest import MakeProject, until

MIDDLEWARE = """
import asyncio
from resqpy import Middleware

class Everyone(Middleware):
    everywhere = True
    heard = []

    def on_failure(self, failure):
        self.heard.append(failure)

class Named(Middleware):
    heard = []
    hook_timeout = 20

    async def on_failure(self, failure):
        self.heard.append(failure)
        await asyncio.sleep(0)
        if "raises" in failure.args[0]:
            raise LookupError("a listener's own")
        if "hangs" in failure.args[0]:
            await asyncio.Event().wait()

class Broken(Middleware):
    def on_failure(self, failure):
        raise SystemExit(3)
"""
TASKS = """
import asyncio
from resqpy import task

@task(middleware=["named", "broken"], retry={"retry_limit": 2, "retry_delay": 1000})
def charge(token="", card=None, **others):
    raise LookupError(f"no card for https://u:{token}@bank")

@task(time_limit=100)
async def slow():
    await asyncio.Event().wait()

@task(queue="mail")
def fine(times: int = 1):
    return times
"""


@pytest.fixture
def project(make_project: MakeProject) -> Project:
    """A project whose middleware keeps what it hears."""
    return make_project(middleware__all=MIDDLEWARE, tasks__a=TASKS)


def heard(project: Project, name: str = "everyone") -> list[JobFailure]:
    """What a middleware has heard."""
    found: list[JobFailure] = project.registry.middleware._by_name[name].heard  # type: ignore[attr-defined]
    return found


async def test_each_attempt_is_told_with_what_follows(project: Project) -> None:
    """The failure before a retry, and the last one; secrets are hidden in all that is for display."""
    async with Process(project):
        await api.tasks.enqueue("charge", {"token": "s3cret", "card": {"api_key": "k3y"}})
        await drain(delayed=True)

        first, last = heard(project)
        assert (first.name, first.task, first.queue) == (
            "charge",
            project.registry.task("charge"),
            "default",
        )
        assert (first.attempt, first.of, first.will_retry, first.delay_ms) == (1, 2, True, 1000)
        assert (last.attempt, last.of, last.will_retry, last.delay_ms) == (2, 2, False, None)
        assert isinstance(last.error, LookupError)
        assert last.exception == "LookupError"
        assert last.args == [{"token": "[FILTERED]", "card": {"api_key": "[FILTERED]"}}]
        assert "in charge" in last.traceback
        assert "s3cret" not in last.traceback + last.message + repr(last)
        assert last.run is not None
        assert last.worker == str(last.run.worker_id)
        assert last.id is None
        assert await api.tasks.failed_count() == 1


async def test_only_tasks_that_name_it(project: Project) -> None:
    """A middleware that is not everywhere hears of the tasks that have it."""
    async with Process(project):
        await api.tasks.enqueue("charge")
        await api.tasks.enqueue("slow")
        await drain(delayed=True)

    assert [each.name for each in heard(project, "named")] == ["charge", "charge"]
    slow = [each for each in heard(project) if each.name == "slow"]
    assert [type(each.error) for each in slow] == [JobTimeout]


async def test_jobs_that_no_task_runs(project: Project, redis: Redis) -> None:
    """Unknown ones, those with invalid inputs, and what can't be read: waiting or delayed."""
    raw = [
        b'{"class":"gone","args":[{"a":1}]}',
        b'{"class":"fine","args":[{"times":"x"}]}',
        b"\xff{",
    ]
    await redis.rpush("resque:queue:mail", *raw)
    await redis.sadd("resque:queues", "mail")
    async with Process(project):
        await drain()
    await redis.rpush("resque:delayed:1", b"neither")
    await redis.zadd("resque:delayed_queue_schedule", {"1": 1})
    async with Process(project, scheduler=True):
        told = heard(project)
        await until(lambda: len(told) == 4)
        assert [(each.name, type(each.error)) for each in told] == [
            ("gone", UnknownTask), ("fine", InvalidInputs), ("", PayloadError), ("", PayloadError),
        ]  # fmt: skip
        assert [each.task for each in told] == [None, project.registry.task("fine"), None, None]
        assert not any(each.will_retry for each in told)
        assert told[0].args == [{"a": 1}]
        assert [each.queue for each in told] == ["mail", "mail", "mail", "default"]
        assert await api.tasks.failed_count() == 4


async def test_its_own_error_changes_nothing(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, whatever it raises; the job's end stays what it is, and the worker works on."""
    caplog.set_level(logging.ERROR, "resqpy")
    async with Process(project):
        for trouble in ("raises", "hangs"):
            await api.tasks.enqueue("charge", {trouble: True})
        await api.tasks.enqueue("fine")
        drained = await drain(delayed=True)

        assert [each.task for each in drained.failed] == ["charge", "charge"]
        assert [each.task for each in drained.succeeded] == ["fine"]
        assert await api.tasks.failed_count() == 2
    own = [str(record.exc_info[1]) for record in caplog.records if record.exc_info]
    assert own.count("3") == 4
    assert own.count("a listener's own") == 2
    assert sum("hook_timeout of 0.02 s" in each for each in own) == 2


JOB = b'{"class":"fine","queue":"mail","args":[{"token":"t0p"}]}'


@pytest.mark.parametrize(("losses", "error"), [(0, WorkerDied), (3, PoisonPill)])
async def test_a_worker_that_died(
    project: Project, redis: Redis, losses: int, error: type[Exception]
) -> None:
    """Its job runs again, until it was lost too often."""
    async with Process(project) as process:
        await die_with(process.resque.store, JOB)
    if losses:
        await redis.hset("resque:resqpy:rescues", codec.digest(JOB), f"{losses}/{2**31}")
    async with Process(project, worker=True, scheduler=True):
        await until(lambda: heard(project))

    told = heard(project)[0]
    assert (type(told.error), told.will_retry) == (error, not losses)
    assert (told.name, told.queue, told.args) == ("fine", "mail", [{"token": "[FILTERED]"}])
    assert INCARNATION in told.worker
    assert told.run is None


@pytest.mark.parametrize("again", [True, False])
async def test_a_tracked_task_whose_lock_expired(
    project: Project, redis: Redis, *, again: bool
) -> None:
    """An attempt whose outcome nobody knows; told once, by whoever comes across it."""
    async with Process(project) as process:
        options: dict[str, Any] = {} if again else {"at_most_once": True}
        task = await api.tracked.create("fine", {"times": 2}, lock_duration=100, **options)
        await redis.delete("resque:queue:mail")
        assert (await locks.claim(process.resque.store, task.id, "fine", "dead:1:mail#x")).ours
    async with Process(project, worker=True, scheduler=True):
        await until(lambda: heard(project))

    [told] = heard(project)
    assert (type(told.error), told.will_retry) == (WorkerDied, again)
    assert (told.name, told.queue, told.worker) == ("fine", "mail", "dead:1:mail")
    assert (told.id, told.attempt) == (task.id, 1)


async def test_a_tracked_task_that_fails(project: Project) -> None:
    """With its id and the count of its record."""
    told = heard(project)
    async with Process(project, worker=True):
        task = await api.tracked.create("charge", {"card": 1})
        await until(lambda: len(told) == 2)

    assert [(each.id, each.attempt, each.of, each.will_retry) for each in told] == [
        (task.id, 1, 2, True),
        (task.id, 2, 2, False),
    ]


QUIET = """
from resqpy import Middleware

class Quiet(Middleware):
    everywhere = True
"""
LISTENING = """
from resqpy import Middleware, task

class Listening(Middleware):
    def on_failure(self, failure): ...

class Both(Listening):
    def pre_processor(self, call): ...
    def pre_enqueue(self, job): ...

@task(middleware=[Listening])
async def b(): 'Only failures.'

@task(middleware=[Both])
async def c(): 'More.'
"""


async def test_where_nobody_listens_nothing_is_followed(make_project: MakeProject) -> None:
    """No listener of the worker's is ours, nor of the store's."""
    project = make_project(middleware__quiet=QUIET)
    async with Process(project, worker=True, scheduler=True) as process:
        worker, failures = process.resque.multi_worker, process.resque.failures
        assert worker is not None
        assert failures._failed not in worker._listeners.get("failure", [])
        assert failures._re_enqueued not in worker._listeners.get("re_enqueue", [])
        assert process.resque.store.on_lost != failures._lost


def test_who_only_listens_takes_part_in_no_run(make_project: MakeProject) -> None:
    """Nor in an enqueue: what a middleware does not override costs nothing."""
    found = make_project(tasks__a=LISTENING).registry.definitions
    hooks = {name: (len(each.around), len(each.enqueue_hooks)) for name, each in found.items()}
    assert hooks == {"b": (0, 0), "c": (1, 1)}
    assert found["b"].direct


STUCK = """
import asyncio
from resqpy import Middleware

class Stuck(Middleware):
    everywhere = True
    hook_timeout = None
    begun = []

    async def on_failure(self, failure):
        self.begun.append(failure)
        await asyncio.Event().wait()
"""


async def test_a_stop_does_not_wait_for_ever(
    make_project: MakeProject, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a listener that never ends; the log says so."""
    monkeypatch.setattr("resqpy.framework.process.parts._CLOSE_S", 0.01)
    project = make_project(
        middleware__stuck=STUCK, tasks__a=TASKS.replace('middleware=["named", "broken"], ', "")
    )
    begun = project.registry.middleware._by_name["stuck"].begun  # type: ignore[attr-defined]
    async with Process(project, worker=True) as process:
        await api.resque.store.call("SADD", "resque:queues", "mail")
        await api.resque.store.call("RPUSH", "resque:queue:mail", b'{"class":"gone","args":[]}')
        await until(lambda: begun)
        await process.stop(0)

    assert "telling of failures did not end within" in caplog.text


async def test_a_tracked_task_whose_end_has_passed(project: Project) -> None:
    """Before its first run: it never runs, and that is told."""
    async with Process(project):
        soon = datetime.now(UTC) + timedelta(seconds=2)
        task = await api.tracked.create("fine", {"times": 2}, delay=1000, end=soon)
        await until(lambda: datetime.now(UTC) > soon)
    async with Process(project, worker=True, scheduler=True):
        await until(lambda: heard(project))

    [told] = heard(project)
    assert (told.id, told.name, told.will_retry) == (task.id, "fine", False)
    assert "neverRuns" in told.message
