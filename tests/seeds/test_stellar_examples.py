"""Each example and each method of Stellar's page about tasks, in our form, on a real Redis.

| on the page | test |
|---|---|
| enqueue, enqueueAt, enqueueIn | `test_enqueue`, `test_enqueue_at`, `test_enqueue_in` |
| `stellar makeTask <task_name> --module=<module_name>` | `test_make_task` |
| the properties, `auth.sessionValidation` | `test_mandatory_properties`, `test_modules_and_namespaces` |
| exports.sayHello | `test_the_example_task` |
| del, delDelayed, delQueue | `test_del`, `test_del_delayed`, `test_del_queue` |
| delDelayesAt | `test_del_delayes_at` |
| enqueueRecurrentJob, stopRecurrentJob | `test_recurrent_jobs` |
| timestamps, allDelayed | `test_timestamps_and_all_delayed` |
| stats, workers, details | `test_stats_workers_and_details` |
| locks, delLock | `test_locks` |
| failedCount, removeFailed, retryAndRemoveFailed | `test_failed_jobs` |
| cleanOldWorkers | `test_clean_old_workers` |
"""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from resqpy import Process, Project, api
from resqpy.base.errors import UsageError
from resqpy.cli.main import run
from resqpy.testing import ManualClock, drain, find_enqueued

FILES = {
    "modules/mail/tasks/send.py": """
        from resqpy import task

        @task("sendResetPasswordEmail")
        async def reset(to: str): "Send a link to set a new password."

        @task("sendNotificationEmail", plugins=["QueueLock"])
        async def notify(to: str):
            "Send a notification."
            if to == "nobody": raise ConnectionError(to)
    """,
    "modules/auth/tasks/session.py": """
        from resqpy import Task

        class SessionValidation(Task):
            "I look whether sessions are over."
            async def run(self): ...
    """,
    "tasks/say_hello.py": """
        from resqpy import Task, api

        class SayHello(Task):
            name = "sayHello"
            description = "I say hello"
            queue = "default"
            frequency = 1000

            async def run(self):
                # log a new message
                api.log.info("Hello!!!")
    """,
}
TO = {"to": "gil00mendes@gmail.com"}
LATER = 4_000_000_000_000


async def test_enqueue(resqpy_process: Process) -> None:
    """Tasks are processed in their order of arrival."""
    assert await api.tasks.enqueue("sendResetPasswordEmail", TO, "default")
    assert await api.tasks.enqueue("sendNotificationEmail", TO, "default")

    assert [each.task for each in (await drain()).jobs] == [
        "sendResetPasswordEmail",
        "sendNotificationEmail",
    ]


async def test_enqueue_at(resqpy_process: Process) -> None:
    """The page's 1591629508 is seconds where milliseconds are meant: refused, with the remedy."""
    with pytest.raises(UsageError, match=r"1591629508 must be seconds.*use 1591629508000"):
        await api.tasks.enqueue_at(1591629508, "sendNotificationEmail", TO, "default")

    await api.tasks.enqueue_at(1591629508 * 1000, "sendNotificationEmail", TO, "default")
    assert await api.tasks.length("default") == 1  # June 2020 is over: it may run at once


async def test_enqueue_in(resqpy_clock: ManualClock) -> None:
    """After 60,000 ms (the page shows it under "periodic", which it is not)."""
    assert await api.tasks.enqueue_in(60_000, "sendNotificationEmail", TO, "default")

    assert [each.inputs for each in await resqpy_clock.advance(60_000)] == [TO]
    assert await resqpy_clock.advance(600_000) == []


async def test_the_example_task(resqpy_clock: ManualClock) -> None:
    """It records a message every second."""
    await api.tasks.enqueue_recurrent_job("sayHello")
    with capture_logs() as lines:
        for _ in range(3):
            await resqpy_clock.advance(1000)
            await drain()

    assert [line["event"] for line in lines].count("Hello!!!") >= 3


def test_modules_and_namespaces(resqpy_project: Project) -> None:
    """The tasks of a module have its name before theirs; a name that is given stays as it is."""
    assert sorted(resqpy_project.registry.tasks) == [
        "auth.sessionValidation",
        "sayHello",
        "sendNotificationEmail",
        "sendResetPasswordEmail",
    ]


def test_make_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A generated task stands in its module's folder, and has the module's name before its own."""
    (tmp_path / "tasks").mkdir()
    monkeypatch.chdir(tmp_path)
    assert run(["generate-task", "sessionValidation", "--module=auth"]) == 0

    assert (tmp_path / "modules" / "auth" / "tasks" / "session_validation.py").exists()
    assert list(Project.load(tmp_path, environ={}).registry.tasks) == ["auth.sessionValidation"]


def test_mandatory_properties(tmp_path: Path) -> None:
    """Name (of which the class is one) and description (of which the name is one); run that is missing
    is told.
    """
    folder = tmp_path / "other" / "tasks"
    folder.mkdir(parents=True)
    (folder / "a.py").write_text(
        "from resqpy import Task\nclass Silent(Task):\n    async def run(self): ...\n"
        "class Idle(Task):\n    'I do nothing.'\n"
    )

    project = Project.load(folder.parent, environ={})
    [problem] = map(str, project.errors)

    assert "has no method run" in problem
    assert project.registry.tasks["silent"].description == "silent"


async def test_del(resqpy_process: Process) -> None:
    """Remove a number of tasks, or all, that match."""
    for _ in range(3):
        await api.tasks.enqueue("sendResetPasswordEmail", TO)

    assert await api.tasks.del_("default", "sendResetPasswordEmail", TO, 2) == 2
    assert await api.tasks.del_("default", "sendResetPasswordEmail", {"to": "other"}) == 0
    assert await api.tasks.del_("default", "sendResetPasswordEmail", TO) == 1


async def test_del_delayed(resqpy_process: Process) -> None:
    """Remove what matches from all times."""
    for at in (LATER, LATER + 60_000):
        await api.tasks.enqueue_at(at, "sendResetPasswordEmail", TO)

    assert await api.tasks.del_delayed("default", "sendResetPasswordEmail", TO) == [
        LATER,
        LATER + 60_000,
    ]


async def test_del_queue(resqpy_process: Process) -> None:
    """Remove all the tasks of a queue."""
    await api.tasks.enqueue("sendResetPasswordEmail", TO, "q")
    await api.tasks.del_queue("q")

    assert await find_enqueued() == []


async def test_recurrent_jobs(resqpy_clock: ManualClock) -> None:
    """Add one, and stop it."""
    assert await api.tasks.enqueue_recurrent_job("sayHello") is True
    assert len(await resqpy_clock.advance(1000)) == 1
    assert await api.tasks.stop_recurrent_job("sayHello") == 1

    assert await resqpy_clock.advance(10_000) == []


async def test_timestamps_and_all_delayed(resqpy_process: Process) -> None:
    """The times; and the tasks by their times (the page says that allDelayed removes: it lists)."""
    await api.tasks.enqueue_at(LATER, "sendResetPasswordEmail", TO)

    assert await api.tasks.timestamps() == [LATER]
    assert [job.args for job in (await api.tasks.all_delayed())[LATER]] == [[TO]]


async def test_del_delayes_at(resqpy_process: Process) -> None:
    """Remove all tasks of a time; all that are delayed, time by time."""
    for at in (LATER, LATER + 60_000):
        for to in ("a", "b"):
            await api.tasks.enqueue_at(at, "sendResetPasswordEmail", {"to": to})

    assert await api.tasks.del_delayed_at(LATER) == 2
    for at in await api.tasks.timestamps():
        await api.tasks.del_delayed_at(at)
    assert await api.tasks.all_delayed() == {}


async def test_stats_workers_and_details(resqpy_process: Process) -> None:
    """Counters; task processors; queues."""
    await api.tasks.enqueue("sendResetPasswordEmail", TO)
    await drain()
    await api.tasks.enqueue("sendResetPasswordEmail", TO, "other")

    assert (await api.tasks.stats())["processed"] == 1
    assert await api.tasks.workers() == {}
    assert (await api.tasks.details())["queues"]["other"] == 1


async def test_locks(resqpy_process: Process) -> None:
    """All locks by name; removing one gives 1, removing it again 0."""
    await api.tasks.enqueue("sendNotificationEmail", TO)
    (name,) = await api.tasks.locks()

    assert await api.tasks.del_lock(name) == 1
    assert await api.tasks.del_lock(name) == 0


async def test_failed_jobs(resqpy_process: Process) -> None:
    """Counted, tried again, removed; the argument is an entry of `failed`, no task's name."""
    for _ in range(2):
        await api.tasks.enqueue("sendNotificationEmail", {"to": "nobody"})
        await drain()

    assert await api.tasks.failed_count() == 2
    first, second = await api.tasks.failed()
    assert await api.tasks.retry_and_remove_failed(first) is True
    assert await api.tasks.remove_failed(second) == 1
    assert await api.tasks.failed_count() == 0
    assert await api.tasks.length("default") == 1


async def test_clean_old_workers(resqpy_process: Process) -> None:
    """A worker that works for too long is removed, and its job fails."""
    store, name = resqpy_process.resque.store, "gone:1:default"
    job = '{"class":"sendNotificationEmail","queue":"default","args":[{}]}'
    record = f'{{"run_at":"2001/01/01 00:00:00 UTC","queue":"default","payload":{job},"worker":"{name}"}}'
    await store.call("SADD", "resque:workers", name)
    await store.call("SET", f"resque:worker:{name}", record)

    assert list(await api.tasks.clean_old_workers(10_000)) == [name]
    assert await api.tasks.failed_count() == 1
