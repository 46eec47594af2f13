"""`resque_overrides`: other parts in place of ours, from a config file."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from resqpy.base.imports import import_dotted
from resqpy.engine.inspect.inspector import Resque
from resqpy.engine.queue.queue import Queue
from resqpy.engine.worker.multi_worker import MultiWorker
from resqpy.framework.api.api import api
from resqpy.framework.api.scheduler import Scheduler
from resqpy.framework.process.process import Process
from resqpy.framework.project.overrides import PARTS, check_contract
from tests.framework.conftest import Files, MakeProject, until
from tests.support.shell import Shell, write

EXAMPLES = Path(__file__).parents[2] / "docs" / "how-to" / "examples"
TASKS = "from resqpy import task\n@task()\nasync def work(): 'W.'\n"


async def test_the_pages_example(files: Files, make_project: MakeProject) -> None:
    """A queue of one's own by a dotted path in config/tasks.py; `api.resque.queue` has its verb."""
    (files.root / "lib").mkdir()
    shutil.copy(EXAMPLES / "front_queue.py", files.root / "lib")
    project = make_project(
        tasks__a=TASKS,
        config__tasks="""
        def default():
            return {"resque_overrides": {"queue": "lib.front_queue.FrontQueue"}}
        """,
    )
    async with Process(project):
        queue: Any = api.resque.queue
        await api.tasks.enqueue("work")
        assert await queue.enqueue_in_front("default", "work", [{"first": True}])
        assert [job.args for job in await api.tasks.queued("default")] == [[{"first": True}], [{}]]
        assert queue.jumped == ["work"]


async def test_all_three_by_class_factory_and_path(make_project: MakeProject) -> None:
    """Each is used: the queue enqueues, the worker works, the scheduler stands for election."""
    project = make_project(
        tasks__a=TASKS,
        lib__parts="""
        from resqpy import MultiWorker, Queue, Scheduler

        USED = []

        class MyQueue(Queue):
            async def enqueue(self, queue, class_name, args=()):
                USED.append("queue")
                return await super().enqueue(queue, class_name, args)

        def my_worker(store, jobs, queues, options, scaling):
            USED.append("worker")
            return MultiWorker(store, jobs, queues, options, scaling)

        class MyScheduler(Scheduler):
            async def start(self):
                USED.append("scheduler")
                await super().start()
        """,
        config__tasks="""
        from lib.parts import MyScheduler, my_worker

        def default():
            return {
                "resque_overrides": {
                    "queue": "lib.parts:MyQueue",
                    "multi_worker": my_worker,
                    "scheduler": MyScheduler,
                }
            }
        """,
    )
    from lib.parts import USED  # type: ignore[import-not-found]

    async with Process(project, worker=True, scheduler=True) as process:
        await api.tasks.enqueue("work")
        await until(api.tasks.stats)
        assert USED == ["worker", "scheduler", "queue"]
        assert process.resque.inspector.store is process.resque.store
        assert await api.tasks.failed_count() == 0


@pytest.mark.parametrize(
    ("part", "told"),
    [
        (
            "'lib.parts.Quue'",
            "(lib.parts.Quue): 'lib.parts' has no 'Quue'; did you mean 'Queue'?",
        ),
        ("'lib.nowhere.Queue'", "(lib.nowhere.Queue): cannot import 'lib.nowhere.Queue'"),
        ("'lib.parts.NUMBER'", "(lib.parts.NUMBER) is 1, neither a class nor a factory"),
        (
            "'lib.parts.Half'",
            "can't be used: it has no enqueue_many, enqueue_at, enqueue_in, ",
        ),
        ("'lib.parts.Short'", "its enqueue() doesn't accept (queue, class_name, args)"),
        ("7", "tasks.resque_overrides.queue: 7 is not a class, a factory, a dotted path or None"),
    ],
)
def test_what_cant_be_used_is_told_when_the_project_is_loaded(
    files: Files, part: str, told: str
) -> None:
    """With the path in the config and what is missing."""
    files.write(
        lib__parts="""
        from resqpy import Queue

        NUMBER = 1

        class Half:
            async def enqueue(self, queue, class_name, args=()): ...
            async def enqueue_a(self): ...

        class Short(Queue):
            async def enqueue(self, queue): ...
        """,
        config__tasks=f"def default(): return {{'resque_overrides': {{'queue': {part}}}}}",
    )
    [problem] = files.problems()

    assert told in problem
    assert "tasks.resque_overrides.queue" in problem


@pytest.mark.parametrize("name", PARTS)
def test_our_own_parts_keep_the_contract(name: str) -> None:
    """Otherwise the contract asks for what nobody has."""
    check_contract(name, import_dotted(PARTS[name][0]), name)


def test_the_contracts_are_told_apart() -> None:
    """A scheduler is no worker."""
    check_contract("scheduler", Scheduler, "x")
    for part, contract in ((Scheduler, "multi_worker"), (MultiWorker, "scheduler")):
        with pytest.raises(Exception, match="x can't be used"):
            check_contract(contract, part, "x")
    assert issubclass(Resque, Queue)


async def test_a_factory_that_returns_something_else_is_refused(make_project: MakeProject) -> None:
    """Its result is checked when it is made."""
    process = Process(
        make_project(
            {"tasks.resque_overrides.queue": lambda _store, _jobs: "a text"},
        )
    )
    with pytest.raises(Exception, match=r"returned a str; it can't be used: it has no enqueue, "):
        await process.start()


# -- through the command line, each command a program of its own --

PARTS_FILE = """
    from resqpy import MultiWorker, Resque, Scheduler

    def say(*words):
        print(*words, flush=True)

    class MyQueue(Resque):
        async def enqueue(self, queue, class_name, args=()):
            say("my queue enqueues", class_name)
            return await super().enqueue(queue, class_name, args)

    class MyWorker(MultiWorker):
        async def start(self):
            say("my worker starts")
            await super().start()

    def worker_factory(store, jobs, queues, options, scaling):
        say("my factory makes a worker of", queues)
        return MyWorker(store, jobs, queues, options, scaling)

    class MyScheduler(Scheduler):
        async def start(self):
            say("my scheduler starts")
            await super().start()

    def broken_factory(store, jobs):
        return "a text"
    """
WORK = """
    from resqpy import api, task

    @task()
    async def work(n: int) -> None:
        "Say which."
        print("work", n, flush=True)

    @task()
    async def jump(n: int) -> None:
        "Put work in front of all others, by the queue's own verb."
        await api.resque.queue.enqueue_in_front("default", "work", [{"n": n}])
    """


@pytest.fixture
def shell(tmp_path: Path, redis_url: str) -> Shell:
    """A project with replacements that are not in use yet."""
    root = tmp_path / "demo"
    write(root, {"lib/parts.py": PARTS_FILE, "tasks/work.py": WORK})
    shutil.copy(EXAMPLES / "front_queue.py", root / "lib")
    return Shell(root, redis_url)


def override(shell: Shell, **parts: str) -> None:
    """Write config/tasks.py with replacements, as Python expressions."""
    named = ", ".join(f"{name!r}: {value}" for name, value in parts.items())
    text = f"""
    from lib.parts import MyScheduler, worker_factory

    def default():
        return {{"resque_overrides": {{{named}}}}}
    """
    write(shell.root, {"config/tasks.py": text})


def test_the_pages_example_through_the_command_line(shell: Shell) -> None:
    """What was enqueued in front is worked first."""
    override(shell, queue="'lib.front_queue.FrontQueue'")
    for words in (("enqueue", "work", "n=1"), ("enqueue", "work", "n=2"), ("run", "jump", "n=0")):
        done = shell.run("task", *words)
        assert done.returncode == 0, done.stderr

    worked = shell.run("worker", "--burst", "--max", "1")

    assert worked.returncode == 0, worked.stderr
    said = [line for line in worked.stdout.splitlines() if line.startswith("work ")]
    assert said == ["work 0", "work 1", "work 2"]


def test_all_three_through_the_command_line(shell: Shell) -> None:
    """By a dotted path, a factory and a class: each command has its own."""
    override(shell, queue="'lib.parts:MyQueue'", multi_worker="worker_factory")
    enqueued = shell.run("task", "enqueue", "work", "n=1")
    assert "my queue enqueues work" in enqueued.stdout, enqueued.stderr

    worked = shell.run("worker", "--burst", "--queues", "default")
    assert "my factory makes a worker of ('default',)" in worked.stdout, worked.stderr
    assert "my worker starts" in worked.stdout
    assert "work 1" in worked.stdout

    override(shell, scheduler="MyScheduler")
    scheduler = shell.start("scheduler")
    assert scheduler.stdout is not None
    assert next(line for line in scheduler.stdout if "my scheduler starts" in line)
    scheduler.send_signal(signal.SIGTERM)
    scheduler.communicate(timeout=15)
    assert scheduler.returncode == 0


@pytest.mark.parametrize(
    "command", [("worker", "--burst"), ("scheduler",), ("task", "enqueue", "x")]
)
def test_a_wrong_override_through_the_command_line(shell: Shell, command: tuple[str, ...]) -> None:
    """The file, the setting and the nearest name, before anything starts."""
    override(shell, multi_worker="'lib.parts.worker_factry'", queue="'lib.parts:say'")

    done = shell.run(*command)

    assert done.returncode == 3
    told = (
        "config/tasks.py default(): tasks.resque_overrides.multi_worker (lib.parts.worker_factry): "
        "'lib.parts' has no 'worker_factry'; did you mean 'worker_factory'?"
    )
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_factory_that_makes_something_else_through_the_command_line(shell: Shell) -> None:
    """It is found out when it is called; nothing was started then."""
    override(shell, queue="'lib.parts.broken_factory'")

    done = shell.run("worker", "--burst")

    assert done.returncode != 0
    told = (
        "config/tasks.py default(): tasks.resque_overrides.queue (lib.parts.broken_factory) "
        "returned a str; it can't be used: it has no enqueue"
    )
    assert told in done.stderr
    assert "Traceback" not in done.stderr
