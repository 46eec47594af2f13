"""Each code example of ActionHero's page about tasks, in our form, on a real Redis.

| example | test |
|---|---|
| enqueue, enqueueAt, enqueueIn | here |
| config/tasks.js | here; that each option has an effect: tests/framework/test_every_option.py |
| queues: ['high', 'low'] | here |
| a task in a file, several in a file, and what they print | here |
| `actionhero generate task --name=myTask` | here; all of it: tests/cli/test_generate.py |
| the plugin queue-lock | here; all of it: tests/plugins/test_queue_lock.py |
| the methods of "Queue Inspection" | here; all of them: tests/framework/test_tasks_api.py |
| initializers/node_schedule.js | tests/framework/test_initializers.py: the timetable |
| removing stuck workers at boot | tests/framework/test_initializers.py: stuck workers |
| enqueueFront by resque_overrides | tests/framework/test_overrides.py: the page's example |
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from resqpy import Process, Project, api
from resqpy.base.errors import UsageError
from resqpy.cli.main import run
from resqpy.testing import (
    ManualClock,
    capture_events,
    delete_enqueued,
    drain,
    find_enqueued,
    run_task,
)
from tests.support.waiting import wait_for

FILES = {
    "config/tasks.py": """
        def default():
            return {
                # Should this process run a scheduler to promote delayed tasks?
                "scheduler": False,
                # What queues should the task processors work?
                "queues": ["*"],
                # Logging levels of task workers
                "worker_logging": {
                    "failure": "error",  # task failure
                    "success": "info",  # task success
                    "start": "info",
                    "end": "info",
                    "cleaning_worker": "info",
                    "poll": "debug",
                    "job": "debug",
                    "pause": "debug",
                    "internal_error": "error",
                    "multi_worker_action": "debug",
                },
                # Logging levels of the task scheduler
                "scheduler_logging": {
                    "start": "info",
                    "end": "info",
                    "poll": "debug",
                    "enqueue": "debug",
                    "re_enqueue": "debug",
                    "working_timestamp": "debug",
                    "transferred_job": "debug",
                },
                # How long to sleep between jobs / scheduler checks
                "timeout": 5000,
                # At minimum, how many parallel task processors?
                "min_task_processors": 0,
                # At maximum, how many parallel task processors?
                "max_task_processors": 0,
                # How often should we check the event loop to spawn more task processors?
                "check_timeout": 500,
                # How many ms would constitute an event loop delay to halt spawning?
                "max_event_loop_delay": 5,
                # When we kill off a task processor, should we disconnect?
                "to_disconnect_processors": True,
                # Customize Resque primitives, replace None with the required replacement.
                "resque_overrides": {"queue": None, "multi_worker": None, "scheduler": None},
            }
    """,
    "initializers/mail.py": """
        from resqpy import Initializer

        SENT = []

        class SendEmail(Initializer):
            name = "send_email"

            def initialize(self):
                async def send_email(to):
                    if "@" not in to:
                        raise ConnectionError(f"no mail for {to}")
                    SENT.append(to)
                    return SENT
                return send_email
    """,
    "tasks/send_welcome_email.py": """
        from resqpy import Task, api

        # define a single task in a file
        class SendWelcomeEmail(Task):
            name = "sendWelcomeEmail"
            description = "I will send a new user a welcome email"
            queue = "default"
            plugins = []
            plugin_options = {}
            frequency = 0

            async def run(self, params, worker):
                return await api.send_email(params["to"])  # the task fails if send_email does
    """,
    "tasks/say.py": """
        from resqpy import Task, api

        # define multiple tasks (so you can share methods)
        class SayHello(Task):
            name = "sayHello"
            description = "I say hello"
            queue = "default"
            plugins = []
            plugin_options = {}
            frequency = 1000

            async def run(self):
                api.log.info("hello")

        class SayGoodbye(Task):
            name = "sayGoodbye"
            description = "I say goodbye"
            queue = "default"
            frequency = 2000

            async def run(self):
                api.log.info("goodbye")
    """,
    "tasks/queues.py": """
        from resqpy import task

        @task(queue="high")
        async def sendPushMessage(number: int): "I push."

        @task(queue="low", plugins=["QueueLock"])
        async def cleanupCache(part: str = "all"): "I clean up."
    """,
}
TO = {"to": "evan@evantahler.com"}
TODAY = "2026/01/01 00:00:00 UTC"


async def test_enqueue(resqpy_process: Process) -> None:
    """Enqueue the task now, and process it as soon as possible."""
    to_run = await api.tasks.enqueue("sendWelcomeEmail", TO, "default")

    assert to_run is True
    assert [each.result for each in (await drain()).jobs] == [["evan@evantahler.com"]]


async def test_enqueue_at(resqpy_clock: ManualClock) -> None:
    """Process it once a time has come; the page's own 1234556 would be in January 1970 and is refused."""
    with pytest.raises(UsageError, match=r"1234556.*milliseconds"):
        await api.tasks.enqueue_at(1234556, "sendWelcomeEmail", TO, "default")
    at = resqpy_clock.now_ms() + 60_000

    assert await api.tasks.enqueue_at(at, "sendWelcomeEmail", TO, "default")
    assert await resqpy_clock.advance(59_000) == []
    assert len(await resqpy_clock.advance(1000)) == 1


async def test_enqueue_in(resqpy_clock: ManualClock) -> None:
    """Process it once 10,000 ms have passed."""
    assert await api.tasks.enqueue_in(10_000, "sendWelcomeEmail", TO, "default")

    assert await resqpy_clock.advance(9_000) == []
    assert [each.inputs for each in await resqpy_clock.advance(1000)] == [TO]


def test_the_config(resqpy_project: Project, tmp_path: Path) -> None:
    """Every option of the listing is accepted, and its value there is our default; but task processors that
    begin and end are no news.
    """
    listed, ours = resqpy_project.config.tasks, Project.load(tmp_path, "production", environ={})

    assert resqpy_project.errors == ()
    own = {
        each.path: each.value
        for each in resqpy_project.config.settings
        if each.path.startswith("tasks.")
    }
    default = {each.path: each.value for each in ours.config.settings}
    assert listed.max_event_loop_delay == 5
    assert {path: (own[path], default[path]) for path in own if own[path] != default[path]} == {
        "tasks.worker_logging.start": ("info", "debug"),
        "tasks.worker_logging.end": ("info", "debug"),
    }


async def test_high_before_low(resqpy_process: Process) -> None:
    """Queues are worked in the order in which they are named; in a queue, first in, first out."""
    for number in range(3):
        await api.tasks.enqueue("cleanupCache", {"part": str(number)})
        await api.tasks.enqueue("sendPushMessage", {"number": number})

    order = [(each.queue, *each.args[0].values()) for each in (await drain(["high", "low"])).jobs]

    assert order == [
        ("high", 0),
        ("high", 1),
        ("high", 2),
        ("low", "0"),
        ("low", "1"),
        ("low", "2"),
    ]


async def test_a_task_fails_if_what_it_calls_does(resqpy_process: Process) -> None:
    """The error is its failure, as with `next(error)`."""
    await api.tasks.enqueue("sendWelcomeEmail", {"to": "nobody"})
    assert str((await drain()).failed[0].error) == "no mail for nobody"

    failed = await api.tasks.failed()
    assert (failed[0].exception, failed[0].error) == ("ConnectionError", "no mail for nobody")


async def test_several_tasks_of_a_file(resqpy_clock: ManualClock) -> None:
    """One says hello every second, the other goodbye every two."""
    await api.tasks.enqueue_all_recurrent_jobs()
    said: list[str] = []
    with capture_logs() as lines:
        for _ in range(4):
            await resqpy_clock.advance(1000)
            await drain()
    said = [line["event"] for line in lines if line["event"] in ("hello", "goodbye")]

    assert said.count("hello") >= 4
    assert said.count("goodbye") >= 2


async def test_what_running_them_prints(resqpy_project: Project) -> None:
    """The scheduler enqueues, the worker works, the task speaks, and so again: as on the page."""
    with capture_logs() as lines:
        async with Process(resqpy_project, worker=True, scheduler=True) as process:
            with capture_events(process.resque.multi_worker, "success") as ended:
                await wait_for(lambda: len(ended) >= 2)

    told = [line["event"] for line in lines]
    assert told.index("scheduler: leader") < told.index("enqueued") < told.index("hello")
    mine = [line for line in lines if line.get("task") == "sayHello"]
    assert [line["event"] for line in mine][:3] == ["enqueued", "job started", "job succeeded"]


@pytest.fixture
def resqpy_overrides() -> dict[str, Any]:
    """All lines are written, those of debugging too."""
    return {"logger.level": "debug"}


async def test_queue_lock(resqpy_process: Process) -> None:
    """Only one instance of a job with the same arguments can be enqueued at a time."""
    assert await api.tasks.enqueue("cleanupCache", {"part": "a"}) is True
    assert await api.tasks.enqueue("cleanupCache", {"part": "a"}) is False
    assert await api.tasks.enqueue("cleanupCache", {"part": "b"}) is True


async def test_queue_inspection(resqpy_process: Process) -> None:
    """What the page promises of the methods that look."""
    at = 4_000_000_000_000
    await api.tasks.enqueue_at(at, "sendWelcomeEmail", TO)
    await api.tasks.enqueue("sendWelcomeEmail", TO)
    await api.tasks.enqueue("cleanupCache")

    assert await api.tasks.scheduled_at("default", "sendWelcomeEmail", TO) == [at]
    assert await api.tasks.timestamps() == [at]
    assert [job.args for job in await api.tasks.delayed_at(at)] == [[TO]]
    assert list(await api.tasks.all_delayed()) == [at]
    assert [job.class_name for job in await api.tasks.queued("default", 0, 100)] == [
        "sendWelcomeEmail"
    ]
    assert list(await api.tasks.locks()) == ["lock:cleanupCache:low:[{}]"]
    assert await api.tasks.del_lock("lock:cleanupCache:low:[{}]") == 1
    assert await api.tasks.workers() == {}
    assert await api.tasks.all_working_on() == {}
    details = await api.tasks.details()
    assert details["queues"] == {"default": 1, "low": 1}
    assert details["workers"] == {}


async def test_working_on(resqpy_process: Process) -> None:
    """What a task processor works on, by the name of the server and its queues; None while it sleeps."""
    keys, name, queues = resqpy_process.resque.store.keys, "server:1", "high,low"
    job = '{"class":"cleanupCache","queue":"low","args":[{}]}'
    record = f'{{"run_at":"{TODAY}","queue":"low","payload":{job},"worker":"{name}"}}'
    for worker in (f"{name}:{queues}", "other:1:*"):
        await resqpy_process.resque.store.call("SADD", keys.workers, worker)
    await resqpy_process.resque.store.call(
        "SET", f"{keys.namespace}:worker:{name}:{queues}", record
    )

    working = await api.tasks.working_on(name, queues)
    assert working is not None
    assert working.payload["class"] == "cleanupCache"
    assert await api.tasks.working_on("other:1", "*") is None
    assert sorted(await api.tasks.all_working_on()) == ["other:1:*", f"{name}:{queues}"]


async def test_recurrent_jobs(resqpy_clock: ManualClock) -> None:
    """Enqueued once, however often that is asked for; stopped, with the number of those removed."""
    assert await api.tasks.enqueue_recurrent_job("sayHello") is True
    assert await api.tasks.enqueue_recurrent_job("sayHello") is False
    assert len(await resqpy_clock.advance(1000)) == 1

    assert await api.tasks.stop_recurrent_job("sayHello") == 1
    assert await resqpy_clock.advance(10_000) == []


def test_the_generator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes a task and its test, which pass as they are."""
    (tmp_path / "tasks").mkdir()
    monkeypatch.chdir(tmp_path)
    assert run(["generate", "task", "--name=myTask"]) == 0

    assert list(Project.load(tmp_path, environ={}).registry.tasks) == ["myTask"]
    assert (tmp_path / "tests" / "test_my_task.py").exists()


async def test_deleting(resqpy_process: Process) -> None:
    """The counts and timestamps that the page promises."""
    at = 4_000_000_000_000
    await api.tasks.enqueue_at(at, "sendWelcomeEmail", TO)
    for _ in range(3):
        await api.tasks.enqueue("sendWelcomeEmail", TO)
    await api.tasks.enqueue("cleanupCache")

    assert await api.tasks.del_("default", "sendWelcomeEmail", TO, 1) == 1
    assert await api.tasks.del_("default", "sendWelcomeEmail", TO) == 2
    assert await api.tasks.del_delayed("default", "sendWelcomeEmail", TO) == [at]
    await api.tasks.del_queue("low")
    assert await find_enqueued() == []


async def test_failed_jobs(resqpy_process: Process) -> None:
    """Counted, listed, tried again, removed."""
    for to in ("nobody", "no one"):
        await api.tasks.enqueue("sendWelcomeEmail", {"to": to})
    await drain()

    assert await api.tasks.failed_count() == 2
    first, second = await api.tasks.failed(0, 10)
    await api.tasks.retry_and_remove_failed(first)
    assert await api.tasks.remove_failed(second) == 1
    assert await api.tasks.failed_count() == 0
    assert [each.inputs for each in await find_enqueued("sendWelcomeEmail")] == [{"to": "nobody"}]
    assert (await api.tasks.stats())["failed"] == 2


async def test_its_spec_helper(resqpy_process: Process) -> None:
    """What ActionHero has for tests: runTask, findEnqueuedTasks, deleteEnqueuedTasks."""
    assert await run_task("sendWelcomeEmail", TO) == ["evan@evantahler.com"]
    await api.tasks.enqueue("sendWelcomeEmail", TO)

    assert len(await find_enqueued("sendWelcomeEmail")) == 1
    assert await delete_enqueued("sendWelcomeEmail", TO) == 1
