"""A hundred mistakes of a newcomer. Each is made as a user makes it, and the answer names where it is (the file
and the line, the option, the setting, the address), what is wrong there, and what to do or what was meant.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from resqpy.cli.output.printing import Exit
from tests.cli.conftest import Call

MAIL = '''
from resqpy import task

@task(queue="mail", retry=2)
async def send_mail(to: str, copies: int = 1) -> str:
    """Send a mail."""
    return f"{copies} to {to}"
'''
HEAD = "from resqpy import Task, task\n"
WEB = """import resqpy
from fastapi import FastAPI
from fastapi.testclient import TestClient
"""
CONFIG, USAGE, REDIS, MISSING, ERROR = (
    Exit.PROJECT,
    Exit.USAGE,
    Exit.REDIS,
    Exit.NOT_FOUND,
    Exit.ERROR,
)


@dataclass(frozen=True)
class Mistake:
    """What somebody does.

    Attributes:
        words: of a command line behind `resqpy`; or of a program, if `program`.
        facts: what the answer has; `|` stands between words of which one is enough.
        code: the exit code.
        files: beside tasks/mail.py, by their paths.
        environ: variables.
    """

    words: tuple[str, ...]
    facts: tuple[str, ...]
    code: int
    files: dict[str, str] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)
    program: bool = False


def written(
    text: str,
    *facts: str,
    at: str = "tasks/a.py:2|tasks/a.py:3|tasks/a.py:4",
    head: str = HEAD,
    **files: str,
) -> Mistake:
    """A wrong task file, seen by the first command."""
    all_files = {
        "tasks/a.py": head + dedent(text),
        **{_path(name): dedent(each) for name, each in files.items()},
    }
    return Mistake(("task", "list"), (at, *facts), CONFIG, all_files)


def configured(file: str, text: str, *facts: str) -> Mistake:
    """A wrong file of settings."""
    return Mistake(("task", "list"), (file, *facts), CONFIG, {file: dedent(text)})


def typed(*words: str, facts: tuple[str, ...], code: int = USAGE, **files: str) -> Mistake:
    """A wrong command."""
    return Mistake(words, facts, code, {_path(name): dedent(each) for name, each in files.items()})


def called(code: str, *facts: str, exit_code: int = USAGE) -> Mistake:
    """A wrong call, in the project's console."""
    head = "from datetime import *; import asyncio; "
    return Mistake(("console", "-c", head + code), facts, exit_code)


def at_redis(url: str, *facts: str, code: int = REDIS) -> Mistake:
    """A wrong address."""
    return Mistake(("queues",), facts, code, environ={"REDIS_URL": url})


def ran(text: str, *facts: str, **files: str) -> Mistake:
    """A wrong program in the project's folder."""
    made = {
        "program.py": dedent(text),
        **{_path(name): dedent(each) for name, each in files.items()},
    }
    return Mistake((sys.executable, "program.py"), facts, 1, made, program=True)


def _path(name: str) -> str:
    return name.replace("__", "/") + ("" if "." in name else ".py")


MISTAKES: dict[str, Mistake] = {
    # -- tasks --
    "task is not imported": written(
        "@task\ndef a(): ...\n", "from resqpy import task", at="tasks/a.py:1", head=""
    ),
    "an option is misspelled": written(
        "@task(que='m')\ndef a(): ...\n", "que", "did you mean 'queue'"
    ),
    "Celery's max_retries": written("@task(max_retries=3)\ndef a(): ...\n", "max_retries", "retry"),
    "Dramatiq's queue_name": written("@task(queue_name='m')\ndef a(): ...\n", "'queue'"),
    "RQ's timeout": written("@task(timeout=3)\ndef a(): ...\n", "'time_limit'"),
    "Celery's bind": written("@task(bind=True)\ndef a(self): ...\n", "bind"),
    "the queue by its place": written("@task('a', 'mail')\ndef a(): ...\n", "queue"),
    "a cron of four fields": written("@task(cron='* * * *')\ndef a(): ...\n", "* * * *", "5|five"),
    "a cron of the minute 61": written("@task(cron='61 * * * *')\ndef a(): ...\n", "61", "minute"),
    "a cron of a wrong day": written("@task(cron='0 9 * * fryday')\ndef a(): ...\n", "fryday"),
    "a time zone that is not": written(
        "@task(cron='0 9 * * *', timezone='Europe/Berlinn')\ndef a(): ...\n",
        "did you mean 'Europe/Berlin'",
    ),
    "a time zone without a cron": Mistake(
        ("doctor",),
        ("tasks/a.py:3|tasks/a.py:2", "timezone", "cron"),
        Exit.OK,
        {"tasks/a.py": HEAD + "@task(timezone='UTC')\ndef a(): ...\n"},
    ),
    "a frequency that is a word": written(
        "@task(frequency='often')\ndef a(): ...\n", "often", "milliseconds"
    ),
    "a negative frequency": written("@task(frequency=-5)\ndef a(): ...\n", "-5"),
    "cron and frequency": written(
        "@task(cron='* * * * *', frequency=60_000)\ndef a(): ...\n", "cron", "frequency"
    ),
    "a periodic task with an input": written(
        "@task(cron='* * * * *')\ndef a(to: str): ...\n", "to", "default"
    ),
    "retry is a text": written("@task(retry='3')\ndef a(): ...\n", "retry", "'3'"),
    "retry is negative": written("@task(retry=-1)\ndef a(): ...\n", "-1"),
    "an option of retry": written(
        "@task(retry={'retry_limt': 3})\ndef a(): ...\n", "did you mean 'retry_limit'"
    ),
    "a time limit of nothing": written("@task(time_limit=0)\ndef a(): ...\n", "time_limit", "0"),
    "a plugin that is not": written(
        "@task(plugins=['JobLok'])\ndef a(): ...\n", "did you mean 'JobLock'"
    ),
    "a middleware that is not": written("@task(middleware=['auth'])\ndef a(): ...\n", "auth"),
    "an empty queue": written("@task(queue='')\ndef a(): ...\n", "queue name is empty"),
    "an input that is no JSON": written(
        "import sqlite3\n@task\ndef a(db: sqlite3.Connection): ...\n",
        "db",
        "Connection",
        "resource",
    ),
    "the request as an input": written(
        "class Request: ...\n@task\ndef a(request: Request): ...\n", "request", "JSON"
    ),
    "a yield": written("@task\nasync def a():\n    yield 1\n", "generator"),
    "the decorator on a class": written("@task\nclass A: ...\n", "Task"),
    "a class without run": written("class A(Task):\n    queue = 'mail'\n", "run"),
    "a class with perform": written(
        "class A(Task):\n    def perform(self): ...\n", "perform", "run"
    ),
    "the seed's parameters": written(
        "@task\ndef a(api, params): ...\n", "api", "from resqpy import api"
    ),
    "the decorator on a method": written(
        "class A:\n    @task\n    def a(self, to: str): ...\n", "method A.a", "resqpy.Task"
    ),
    "an annotation for a value": written(
        "class A(Task):\n    queue: 'mail'\n    def run(self): ...\n", "queue"
    ),
    "a default of another type": written("@task\ndef a(n: int = 'x'): ...\n", "n", "'x'", "int"),
    "two tasks of a name": written("@task\ndef send_mail(): ...\n", "send_mail", "tasks/mail.py:"),
    "a syntax error": written("def a(:\n", "SyntaxError"),
    "a package that is missing": written("import requestz\n", "requestz"),
    "a name that the library has not": written(
        "from resqpy import tasks\n", "did you mean 'task'|Did you mean: 'task'"
    ),
    "an import from nowhere": written(
        "from ...models import Order\n", "beyond top-level package|no known parent"
    ),
    "imports in a circle": written(
        "from tasks.b import b\n@task\ndef a(): ...\n",
        "circular",
        "tasks/b.py",
        tasks__b="from tasks.a import a\nb = 1\n",
    ),
    "a dot in a file's name": Mistake(
        ("task", "list"),
        ("send.mail.py", "rename it"),
        CONFIG,
        {"tasks/send.mail.py": HEAD + "@task\ndef a(): ...\n"},
    ),
    "a task elsewhere": written(
        "import lib.other\n",
        "lib/other.py:3",
        "[tool.resqpy]",
        at="lib/other.py",
        lib__other=HEAD + "@task\ndef lost(): ...\n",
    ),
    "a line of another library": written("from celery import shared_task\n", "celery"),
    "an error at import": written("1 / 0\n", "ZeroDivisionError"),
    # -- settings --
    "a setting is misspelled": configured(
        "config/redis.py",
        "def default():\n    return {'urll': 'x'}\n",
        "urll",
        "did you mean 'redis.url'",
    ),
    "a file of settings is misspelled": configured(
        "config/reddis.py", "def default():\n    return {'url': 'x'}\n", "did you mean 'redis'"
    ),
    "its function is misspelled": configured(
        "config/redis.py",
        "def defualt():\n    return {'db': 1}\n",
        "defualt",
        "did you mean 'default'",
    ),
    "it returns nothing": configured(
        "config/redis.py", "def default():\n    {'db': 1}\n", "None", "dict"
    ),
    "a setting of another type": configured(
        "config/tasks.py",
        "def default():\n    return {'max_task_processors': 'ten'}\n",
        "ten",
        "max_task_processors",
    ),
    "a list is a text": configured(
        "config/tasks.py", "def default():\n    return {'queues': 5}\n", "queues", "5"
    ),
    "settings with a syntax error": configured(
        "config/tasks.py", "def default(:\n", "config/tasks.py:1"
    ),
    "a table's key is misspelled": configured(
        "pyproject.toml", "[tool.resqpy]\ntask = ['a']\n", "did you mean 'tasks'"
    ),
    "a table's list is a text": configured(
        "pyproject.toml", "[tool.resqpy]\ntasks = 'shop.tasks'\n", "shop.tasks", "list"
    ),
    "a table's module is not": configured(
        "pyproject.toml", "[tool.resqpy]\ntasks = ['tsks']\n", "tsks", "did you mean 'tasks'"
    ),
    "a variable of another type": Mistake(
        ("task", "list"),
        ("RESQPY_TASKS_MAX_TASK_PROCESSORS", "ten"),
        CONFIG,
        environ={"RESQPY_TASKS_MAX_TASK_PROCESSORS": "ten"},
    ),
    "a variable is misspelled": Mistake(
        ("task", "list"),
        ("RESQPY_REDIS_URLL", "RESQPY_REDIS_URL"),
        CONFIG,
        environ={"RESQPY_REDIS_URLL": "redis://x"},
    ),
    # -- Redis --
    "no scheme": at_redis("localhost:6379", "localhost:6379", "REDIS_URL", "redis://"),
    "another scheme": at_redis("http://localhost:6379", "http", "REDIS_URL", "redis://"),
    "a port that is a word": at_redis("redis://localhost:abc", "REDIS_URL", "port"),
    "a database that is a word": at_redis("redis://localhost:6379/main", "main", "REDIS_URL"),
    "nobody is there": at_redis("redis://127.0.0.1:1", "127.0.0.1:1"),
    "a host that is not": at_redis("redis://redis.invalid:6379", "redis.invalid"),
    "a socket that is not": at_redis("unix:///nowhere/redis.sock", "/nowhere/redis.sock"),
    "a flag without a scheme": typed(
        "queues", "--redis", "localhost", facts=("localhost", "redis://"), code=REDIS
    ),
    # -- commands --
    "a command is misspelled": typed("wroker", facts=("wroker", "worker")),
    "a group is misspelled": typed("tasks", "list", facts=("tasks", "task")),
    "a subcommand is misspelled": typed("task", "lst", facts=("lst", "list")),
    "Celery's way to call": typed("-A", "app", "worker", facts=("-A", "resqpy worker -A")),
    "a verb without its group": typed("enqueue", "send_mail", facts=("enqueue", "task enqueue")),
    "an option of a command": typed("worker", "--quues", "mail", facts=("--quues", "--queues")),
    "a number that is a word": typed("worker", "--max", "ten", facts=("--max", "ten")),
    "more than it takes": typed("worker", "tasks.py", facts=("tasks.py", "-A|--app")),
    "a file for a module": typed(
        "worker", "-A", "tasks/mail.py", facts=("tasks/mail.py", "tasks.mail"), code=CONFIG
    ),
    "a module that is not": typed("worker", "-A", "tsks", facts=("tsks", "tasks"), code=CONFIG),
    "a folder that is not": typed("task", "list", "-C", "/no/such", facts=("/no/such",)),
    "a task that is not": typed(
        "task", "enqueue", "send_mial", "to=a", facts=("send_mial", "send_mail"), code=MISSING
    ),
    "an input is misspelled": typed(
        "task", "enqueue", "send_mail", "too=a", facts=("too", "did you mean 'to'")
    ),
    "an input is missing": typed("task", "enqueue", "send_mail", facts=("'to'", "required")),
    "an input without its name": typed(
        "task", "enqueue", "send_mail", "ada", facts=("ada", "to=ada|KEY=VALUE|key=value")
    ),
    "an input of another type": typed(
        "task",
        "enqueue",
        "send_mail",
        "to=a",
        "copies=many",
        facts=("copies", "many", "int|whole number"),
    ),
    "JSON that is none": typed(
        "task", "enqueue", "send_mail", "--args", "{to: a}", facts=("{to: a}|--args", "JSON")
    ),
    "a delay that is none": typed(
        "task", "enqueue", "send_mail", "to=a", "--in", "soon", facts=("soon", "ms, s, m")
    ),
    "a time that is none": typed(
        "task",
        "enqueue",
        "send_mail",
        "to=a",
        "--at",
        "tomorrow",
        facts=("tomorrow", "2030-01-31T12:00"),
    ),
    "a failed job that is not": typed(
        "failed", "retry", "99", "--yes", facts=("99", "failed list|failed"), code=MISSING
    ),
    "a queue that is not": typed("jobs", "list", "mial", facts=("mial",), code=MISSING),
    "a schedule that is not": typed(
        "schedule", "resume", "reprot", facts=("reprot",), code=MISSING
    ),
    "a thing to generate that is not": typed("generate", "taks", "a", facts=("taks", "task")),
    "a file that is there": typed(
        "generate", "task", "mail", facts=("tasks/mail.py", "--force|exists"), code=Exit.NO
    ),
    "no value": typed("worker", "--queues", facts=("--queues", "argument")),
    # -- calls --
    "a call's input is misspelled": called(
        "await send_mail.enqueue(too='a')", "too", "did you mean 'to'"
    ),
    "a call without its input": called("await send_mail.enqueue()", "'to'", "required"),
    "a call's input of another type": called(
        "await send_mail.enqueue(to=5)", "'to'", "5", "text|str"
    ),
    "an input that JSON has not": called("await send_mail.enqueue(to={1})", "'to'", "set"),
    "an object": called("await send_mail.enqueue(to=object())", "'to'", "object"),
    "Celery's delay": called(
        "await send_mail.delay(to='a')", "delay", "send_mail.enqueue", exit_code=ERROR
    ),
    "Dramatiq's send": called("await send_mail.send('a')", "send_mail.enqueue", exit_code=ERROR),
    "a verb is misspelled": called(
        "await send_mail.enqueue_inn(5, to='a')", "did you mean 'enqueue_in'", exit_code=ERROR
    ),
    "a delay in words": called(
        "await send_mail.enqueue_in('soon', to='a')", "soon", "milliseconds"
    ),
    "a time without a zone": called(
        "await send_mail.enqueue_at(datetime(2040, 1, 1), to='a')", "2040", "aware|time zone|tzinfo"
    ),
    "an input twice": called(
        "await send_mail.enqueue('a', to='b')", "'to'", "by position and by name"
    ),
    "too many inputs": called("await send_mail.enqueue('a', 1, 2)", "3", "to, copies"),
    "no await": called("send_mail.enqueue(to='a')", "send_mail", "await", exit_code=ERROR),
    "sync in async": called("send_mail.sync.enqueue(to='a')", "await send_mail.enqueue"),
    "a name that is misspelled": called(
        "await api.tasks.enqueue('send_mial', {'to': 'a'})",
        "send_mial",
        "send_mail",
        exit_code=MISSING,
    ),
    "inputs that are no dict": called(
        "await api.tasks.enqueue('send_mail', 'ada')", "send_mail", "'ada'", "dict"
    ),
    "a verb of the API": called(
        "await api.tasks.enque('send_mail')",
        "enque",
        "did you mean 'enqueue'|Did you mean: 'enqueue'",
        exit_code=ERROR,
    ),
    "a part of the API": called(
        "await api.task.enqueue('send_mail')", "'task'", "did you mean 'tasks'", exit_code=ERROR
    ),
    "a tracked task of no kind": called(
        "await api.tracked.create('send_mial', {})", "send_mial", "send_mail", exit_code=MISSING
    ),
    "a tracked task that is not": called(
        "await api.tracked.fetch('nope')", "nope", exit_code=ERROR
    ),
    "a queue that is none": called("await send_mail.on('').enqueue(to='a')", "queue name is empty"),
    # -- programs --
    "an enqueue in a script": ran(
        "from tasks.mail import send_mail\nsend_mail.enqueue(to='a')\n",
        "send_mail",
        "send_mail.sync.enqueue",
    ),
    "a task file that runs itself": ran(
        "import tasks.mail\nfrom tasks.mail import send_mail\nsend_mail.sync.delay('a')\n",
        "send_mail.enqueue",
    ),
    "a call of sync": ran(
        "import tasks.mail\nfrom tasks.mail import send_mail\nsend_mail.sync(to='a')\n",
        "send_mail.sync.enqueue(",
    ),
    "a file named like a library": ran(
        "import tasks.mail\n", "redis.py", "rename", "'redis'", redis="x = 1\n"
    ),
    "a file named like a module of Python": ran(
        "import tasks.mail\n", "queue.py", "rename", "'queue'", queue="x = 1\n"
    ),
    "the API outside": ran(
        "from resqpy import api\nprint(api.tasks.queues())\n", "open_project", "api.sync"
    ),
    "with, not async with": ran(
        "import resqpy\nwith resqpy.open_project('.'):\n    pass\n", "async with"
    ),
    "a project that is awaited": ran(
        "import asyncio, resqpy\nasync def main():\n    await resqpy.open_project('.')\nasyncio.run(main())\n",
        "async with",
    ),
    "a lifespan that is not called": ran(
        WEB + "with TestClient(FastAPI(lifespan=resqpy.lifespan)):\n    pass\n",
        "lifespan(",
    ),
    "a lifespan elsewhere": ran(
        WEB + "with TestClient(FastAPI(lifespan=resqpy.lifespan('/no/such'))):\n    pass\n",
        "/no/such",
    ),
    "a worker by Python's -m": Mistake(
        (sys.executable, "-m", "resqpy", "wroker"), ("wroker", "worker"), 2, program=True
    ),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with one task."""
    folder = tmp_path / "demo"
    (folder / "tasks").mkdir(parents=True)
    (folder / "tasks" / "mail.py").write_text(MAIL)
    return folder


def answered(
    mistake: Mistake, root: Path, environ: dict[str, str], resqpy: Call, setenv: Callable[..., Any]
) -> tuple[int, str]:
    """The exit code, and what was said."""
    for name, text in mistake.files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for name, text in mistake.environ.items():
        setenv(name, text)
    if not mistake.program:
        said = resqpy(*mistake.words)
        return said.code, said.out + said.err
    places = os.pathsep.join([str(root), str(Path(__file__).parents[2])])
    done = subprocess.run(
        mistake.words, cwd=root, env={**environ, "PYTHONPATH": places}, capture_output=True, text=True, check=False
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", MISTAKES)
def test_the_answer_names_the_place_and_the_remedy(
    name: str,
    root: Path,
    environ: dict[str, str],
    resqpy: Call,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each of its facts, and an exit code that tells programs."""
    mistake = MISTAKES[name]
    monkeypatch.chdir(root)
    code, text = answered(mistake, root, environ, resqpy, monkeypatch.setenv)
    missing = [fact for fact in mistake.facts if not any(each in text for each in fact.split("|"))]
    assert (missing, code) == ([], mistake.code), text


def test_there_are_a_hundred() -> None:
    """At least."""
    assert len(MISTAKES) >= 100
