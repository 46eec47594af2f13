"""`api.tasks`: every method of the two pages, in their order of arguments."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy.base.errors import DuplicateDelayedJob, UsageError
from resqpy.engine.inspect.inspector import Resque
from resqpy.framework.api.api import api
from resqpy.framework.api.tasks_api import TasksApi
from resqpy.framework.process.process import Process
from tests.framework.conftest import MakeProject

TASKS = """
from resqpy import Task, task

class SendWelcomeEmail(Task):
    '''I send.'''
    def run(self, params, worker): ...

@task("sendNotificationEmail", queue="mail", plugins=["QueueLock"])
def notify(to: str):
    '''I notify.'''
"""
TO = {"to": "evan@evantahler.com"}
FUTURE = 1_591_629_508_000 * 2


@pytest.fixture
async def process(make_project: MakeProject) -> AsyncIterator[Process]:
    """A process without a worker."""
    async with Process(make_project(tasks__a=TASKS)) as running:
        yield running


async def test_the_three_ways_to_enqueue(process: Process, redis: Redis) -> None:
    """The examples of both pages, in their order: task, inputs, queue."""
    assert await api.tasks.enqueue("sendWelcomeEmail", TO, "default")
    assert await api.tasks.enqueue_at(FUTURE, "sendWelcomeEmail", TO, "default")
    assert await api.tasks.enqueue_in(10_000, "sendWelcomeEmail", TO, "default")
    assert await api.tasks.enqueue_in(timedelta(minutes=1), "sendNotificationEmail", TO)

    assert await redis.lrange("resque:queue:default", 0, -1) == [
        b'{"class":"sendWelcomeEmail","queue":"default","args":[{"to":"evan@evantahler.com"}]}'
    ]
    assert len(await api.tasks.timestamps()) == 3


async def test_seconds_are_refused_where_milliseconds_are_meant(process: Process) -> None:
    """The number of the second page's own example, with the remedy; so is a time without a zone."""
    with pytest.raises(UsageError, match=r"1591629508 .* 1591629508000"):
        await api.tasks.enqueue_at(1591629508, "sendWelcomeEmail", TO, "default")
    with pytest.raises(UsageError, match="no time zone"):
        await api.tasks.enqueue_at(datetime(2030, 1, 1), "sendWelcomeEmail")  # noqa: DTZ001


async def test_the_same_delayed_job_twice(process: Process) -> None:
    """It raises, or returns False if asked to."""
    await api.tasks.enqueue_at(FUTURE, "sendWelcomeEmail", TO)
    with pytest.raises(DuplicateDelayedJob):
        await api.tasks.enqueue_at(FUTURE, "sendWelcomeEmail", TO)

    assert not await api.tasks.enqueue_at(
        FUTURE, "sendWelcomeEmail", TO, suppress_duplicate_task_error=True
    )


async def test_finding_and_removing_by_task(process: Process) -> None:
    """`scheduled_at`, `delete` (`del_`), `del_by_function`, `del_delayed`, `del_delayed_at`, `del_queue`."""
    tasks = api.tasks
    await tasks.enqueue_many([("sendWelcomeEmail", {"n": n % 2}) for n in range(6)])
    await tasks.enqueue_at(FUTURE, "sendWelcomeEmail", TO)
    await tasks.enqueue_at(FUTURE, "sendWelcomeEmail", {"n": 1})

    assert await tasks.scheduled_at("default", "sendWelcomeEmail", TO) == [FUTURE]
    assert await tasks.delete("default", "sendWelcomeEmail", {"n": 1}, 1) == 1
    assert await tasks.del_("default", "sendWelcomeEmail", {"n": 1}) == 2
    assert await tasks.delete("default", "sendWelcomeEmail", [{"n": 0}], -1) == 1
    assert await tasks.del_by_function("default", "sendWelcomeEmail") == 2
    assert await tasks.del_delayed("default", "sendWelcomeEmail", TO) == [FUTURE]
    assert await tasks.del_delayed_at(datetime.fromtimestamp(FUTURE / 1000, UTC)) == 1
    await tasks.enqueue("sendWelcomeEmail")
    assert await tasks.length("default") == 1
    assert await tasks.del_queue("default") == 1
    assert await tasks.queues() == []


async def test_moving_to_another_queue(process: Process) -> None:
    """All that waits, or that of a task, with inputs, so many at the most; in its order."""
    tasks = api.tasks
    await tasks.enqueue_many([("sendWelcomeEmail", {"n": n % 2}) for n in range(6)])

    assert await tasks.move("default", "slow", "sendWelcomeEmail", {"n": 1}, most=2) == 2
    assert await tasks.move("default", "slow", "nobody") == 0
    assert await tasks.move("default", "slow") == 4
    assert [job.args[0]["n"] for job in await tasks.queued("slow")] == [1, 1, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("job", "told"),
    [
        (("sendWelcomeEmial", {}), "there is no task 'sendWelcomeEmial'"),
        (("sendWelcomeEmail", "x"), "task 'sendWelcomeEmail': the inputs are 'x', not a dict"),
        ("abc", r"'abc' is not \(task, inputs, queue\)"),
        (("a", {}, "q", 1), r"\('a', {}, 'q', 1\) is not \(task, inputs, queue\)"),
    ],
)
async def test_which_of_many_is_wrong(process: Process, job: Any, told: str) -> None:
    """One is, and nothing is enqueued; it is told which."""
    with pytest.raises(UsageError, match=rf"^job 1 \(of 0 to 1\): .*{told}"):
        await api.tasks.enqueue_many([("sendWelcomeEmail", TO), job])
    assert await api.tasks.queues() == []


async def test_listing_what_waits(process: Process) -> None:
    """`queued`, `timestamps`, `delayed_at`, `all_delayed`."""
    tasks = api.tasks
    await tasks.enqueue_many([("sendWelcomeEmail", {"n": n}) for n in range(5)])
    await tasks.enqueue_at(FUTURE, "sendWelcomeEmail", TO)

    assert [job.args[0]["n"] for job in await tasks.queued("default", 1, 2)] == [1, 2]
    assert await tasks.timestamps() == [FUTURE]
    assert [job.args for job in await tasks.delayed_at(FUTURE)] == [[TO]]
    assert list(await tasks.all_delayed()) == [FUTURE]


async def test_a_lock_refuses_and_can_be_deleted(process: Process) -> None:
    """`locks` and `del_lock`; a job that a plugin forbids is not enqueued."""
    tasks = api.tasks

    assert await tasks.enqueue("sendNotificationEmail", TO)
    assert not await tasks.enqueue("sendNotificationEmail", TO)
    [name] = await tasks.locks()
    assert await tasks.del_lock(name) == 1
    assert await tasks.enqueue("sendNotificationEmail", TO)
    assert await tasks.length("mail") == 2


async def test_failed_jobs(process: Process, redis: Redis) -> None:
    """`failed_count`, `failed`, `remove_failed`, `retry_and_remove_failed`."""
    for n in range(2):
        job = f'{{"class":"sendWelcomeEmail","queue":"default","args":[{{"n":{n}}}]}}'
        entry = f'{{"worker":"w","queue":"default","payload":{job},"exception":"E","error":"e"}}'
        await redis.rpush("resque:failed", entry)
    tasks = api.tasks
    first, second = await tasks.failed(0, 10)

    assert await tasks.failed_count() == 2
    assert await tasks.remove_failed(first) == 1
    assert await tasks.retry_and_remove_failed(second)
    assert await tasks.failed_count() == 0
    assert [job.args for job in await tasks.queued("default")] == [[{"n": 1}]]


async def test_workers_and_details(process: Process, redis: Redis) -> None:
    """`workers`, `working_on`, `all_working_on`, `clean_old_workers`, `details`, `stats`."""
    name = "old:1:default"
    job = '{"class":"sendWelcomeEmail","queue":"default","args":[{}]}'
    record = (
        f'{{"run_at":"2001/01/01 00:00:00 UTC","queue":"default","payload":{job},"worker":"x"}}'
    )
    await redis.sadd("resque:workers", name)
    await redis.set(f"resque:worker:{name}", record)
    tasks = api.tasks

    assert list(await tasks.workers()) == [name]
    working = await tasks.working_on("old:1", "default")
    assert working is not None
    assert working.queue == "default"
    assert list(await tasks.all_working_on()) == [name]
    assert (await tasks.details())["workers"][name] is not None
    assert list(await tasks.clean_old_workers(10_000)) == [name]
    assert await tasks.workers() == {}
    assert (await tasks.stats())["failed"] == 1


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("enqueueAt", "enqueue_at"),
        ("retryAndRemoveFailed", "retry_and_remove_failed"),
        ("delDelayesAt", "del_delayed_at"),
        ("enqueueRecurrentTask", "enqueue_recurrent_job"),
        ("lenght", "length"),
    ],
)
async def test_a_foreign_name_is_refused_with_the_nearest(
    process: Process, name: str, near: str
) -> None:
    """The camelCase names of ActionHero and Stellar are no aliases."""
    with pytest.raises(AttributeError, match=f"api.tasks has no '{name}'; did you mean '{near}'"):
        getattr(api.tasks, name)


def test_a_verb_that_names_no_task_is_that_of_the_engine() -> None:
    """With the same arguments, but that it takes a task and its inputs where the engine takes a class and args."""
    own = [name for name in vars(TasksApi) if not name.startswith("_") and hasattr(Resque, name)]
    ours = {name: _parameters(TasksApi, name) for name in own}
    theirs = {name: _parameters(Resque, name) for name in own}

    in_another_order = {"enqueue", "enqueue_at", "enqueue_in"}  # ActionHero's: task, inputs, queue
    assert [name for name in own if ours[name] != theirs[name]] == sorted(in_another_order)


def _parameters(kind: type, name: str) -> list[tuple[str, Any]]:
    found = inspect.signature(inspect.unwrap(getattr(kind, name))).parameters
    return [(_NAMES.get(each, each), one.kind) for each, one in found.items()]


_NAMES = {"task_name": "class_name"}


async def test_arguments_may_have_the_names_that_they_had(process: Process) -> None:
    """By which older code calls."""
    assert await api.tasks.del_lock(lock_name="no") == 0  # type: ignore[call-arg]
    assert await api.tasks.working_on(worker_name="no:1:q") is None  # type: ignore[call-arg]


async def test_a_failed_job_is_an_entry_not_a_name(process: Process) -> None:
    """Stellar's page says that it is the task's name."""
    for verb in (api.tasks.remove_failed, api.tasks.retry_and_remove_failed):
        with pytest.raises(UsageError, match="'sendWelcomeEmail'"):
            await verb("sendWelcomeEmail")  # type: ignore[arg-type]
