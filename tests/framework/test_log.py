"""Logs: for people and for machines, with the job's context and without secrets."""

from __future__ import annotations

import io
import json
import logging
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import structlog
from redis.asyncio import Redis

from resqpy import MultiWorker
from resqpy.base.model import Job, WorkerId
from resqpy.engine.lifecycle import SUCCEEDED, Outcome, OutcomeKind
from resqpy.engine.role import tell_end
from resqpy.engine.run import Run
from resqpy.engine.traceback_text import lines_of
from resqpy.engine.worker.running import EndedJob
from resqpy.engine.worker.slots import Slot
from resqpy.framework.api.api import api
from resqpy.framework.config.config import Config, load_config
from resqpy.framework.config.sections import LoggerConfig
from resqpy.framework.logs import events, log
from resqpy.framework.logs.events import EventLog
from resqpy.framework.process.process import Process
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions
from resqpy.store.migrations import ALL, Migration, migrate
from tests.framework.conftest import MakeProject, until

Lines = Callable[[], list[dict[str, Any]]]

TASKS = """
import logging
from resqpy import api, task

@task()
async def talk(password: str = "", text: str = "", fail: bool = False):
    '''I log.'''
    api.log.info("from the task", n=1)
    logging.getLogger("library").warning("from a library: %s", "x")
    if fail:
        raise LookupError("oh" * 100)
    return {"token": "t", "ok": True}
"""


UNSPEAKABLE = """
from resqpy import task

class Silent(Exception):
    def __repr__(self): raise RuntimeError
    __str__ = __repr__

@task()
async def silent(fail: bool = False):
    '''I can't be shown.'''
    if fail:
        raise Silent
    return Silent()
"""


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where logs go: no terminal; the root logger is as before afterwards."""
    stream = io.StringIO()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """The lines as JSON."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


async def test_a_snoozed_job_says_why(make_project: MakeProject, stream: io.StringIO) -> None:
    """And how often, until when, and how often it may be; no traceback: nothing has failed."""
    project = make_project(
        {"logger.level": "info"},
        tasks__a=(
            "from resqpy import Snooze, task\n@task()\nasync def rest():\n    'R.'\n"
            "    raise Snooze(60_000, reason='the night', most=3)\n"
        ),
    )
    log.configure(project.config.logger, project.name, stream)
    async with Process(project, worker=True):
        await api.tasks.enqueue("rest")
        await until(lambda: "snoozed" in stream.getvalue())
    [line] = [each for each in lines(stream) if each["event"].startswith("job ")]

    told = {name: line[name] for name in ("event", "level", "task", "snoozed", "most", "reason")}
    assert told == {
        "event": "job snoozed", "level": "info", "task": "rest", "snoozed": 1, "most": 3, "reason": "the night",
    }  # fmt: skip
    assert line["delay"] == 60_000
    assert "traceback" not in line


async def test_a_skipped_job_has_a_line_too(make_project: MakeProject, stream: io.StringIO) -> None:
    """Else a job that a plugin or a middleware forbids would be gone without a word."""
    project = make_project(
        {"logger.level": "info"},
        tasks__a="from resqpy import task\n@task(middleware=['no'])\nasync def talk(): 'T.'\n",
        middleware__no=(
            "from resqpy import Middleware\n"
            "class No(Middleware):\n    def pre_processor(self, call): return False\n"
        ),
    )
    log.configure(project.config.logger, project.name, stream)
    async with Process(project, worker=True):
        await api.tasks.enqueue("talk")
        await until(lambda: "skipped" in stream.getvalue())
    [line] = [each for each in lines(stream) if each["event"].startswith("job ")]

    assert line["event"] == "job skipped: a plugin or middleware forbids its run"
    assert (line["level"], line["task"], line["worker"]) == ("info", "talk", "#1")


async def test_a_jobs_lines(make_project: MakeProject, stream: io.StringIO) -> None:
    """What a task logs says which job it is; the job itself is one line, its secrets filtered."""
    settings = {"logger.level": "info", "general.name": "shop", "logger.arguments": True}
    project = make_project(settings, tasks__a=TASKS)
    log.configure(project.config.logger, project.name, stream)
    async with Process(project, worker=True):
        await api.tasks.enqueue("talk", {"password": "tiger", "text": "x" * 200})
        await until(lambda: "succeeded" in stream.getvalue())
    found = {line["event"]: line for line in lines(stream)}

    assert list(found) == ["from the task", "from a library: x", "job succeeded"]
    for event in ("from the task", "from a library: x"):
        line = found[event]
        assert (line["task"], line["queue"], line["app"]) == ("talk", "default", "shop")
    assert {line["worker"] for line in found.values()} == {"#1"}
    done = found["job succeeded"]
    assert done["inputs"] == {"password": "[FILTERED]", "text": "x" * 100 + "…"}
    assert done["result"] == {"token": "[FILTERED]", "ok": True}
    assert isinstance(done["ms"], int)
    assert list(done)[:4] == ["timestamp", "level", "event", "app"]


async def test_the_lines_of_a_shadow_run(
    make_project: MakeProject, stream: io.StringIO, redis: Redis
) -> None:
    """Say so; the job itself is another language's, and has no line here."""
    text = TASKS.replace("@task()", "@task(shadow=True)")
    project = make_project({"logger.level": "info"}, tasks__a=text)
    log.configure(project.config.logger, project.name, stream)
    rule = Migration("default", "ruby", 0, 9, 0, 0, shadow=ALL)
    async with Process(project, worker=True):
        await migrate(api.resque.store, "talk", rule)
        await api.tasks.enqueue("talk", {"fail": True})
        await until(lambda: "from a library" in stream.getvalue())

    found = [each for each in lines(stream) if each.get("task")]
    assert [(each["event"], each["shadow"]) for each in found] == [
        ("from the task", True),
        ("from a library: x", True),
    ]


@pytest.mark.parametrize(
    "args", [["ann", "tiger"], ["ann", "tiger", 1], [1, "tiger"], ["ann", 1, "tiger"]]
)
async def test_secrets_by_position(
    args: list[Any], make_project: MakeProject, stream: io.StringIO, redis: Redis
) -> None:
    """The task knows where they are, also where the arguments don't fit."""
    code = "from resqpy import task\n@task\ndef login(user: str, password: str, /):\n    'I do nothing.'\n"
    project = make_project({"logger.level": "info", "logger.arguments": True}, tasks__a=code)
    log.configure(project.config.logger, project.name, stream)
    async with Process(project, worker=True):
        await redis.rpush("resque:queue:default", json.dumps({"class": "login", "args": args}))
        await redis.sadd("resque:queues", "default")
        await until(lambda: "[FILTERED]" in stream.getvalue())
    told = [each["inputs"] for each in lines(stream) if "inputs" in each]
    assert len(told) == 1
    assert "tiger" not in json.dumps(told)


async def test_a_failure_is_an_error(make_project: MakeProject, stream: io.StringIO) -> None:
    """At the level that the config has for it."""
    project = make_project({"logger.level": "warning"}, tasks__a=TASKS)
    log.configure(project.config.logger, project.name, stream)
    async with Process(project, worker=True):
        await api.tasks.enqueue("talk", {"fail": True})
        await until(lambda: "job failed" in stream.getvalue())
    [library, failed] = lines(stream)

    assert library["level"] == "warning"
    assert (failed["level"], failed["error"]) == ("error", "LookupError: " + "oh" * 100)
    assert failed["where"] == "tasks/a.py:11"
    assert "inputs" not in failed
    assert "LookupError" in failed["traceback"].splitlines()[-1]
    assert "tasks/a.py" in failed["traceback"]


async def test_what_cant_be_shown_costs_no_line(
    make_project: MakeProject, stream: io.StringIO
) -> None:
    """A result without a repr, an error without words: the job still has its line."""
    project = make_project({"logger.level": "info"}, tasks__a=UNSPEAKABLE)
    log.configure(project.config.logger, project.name, stream)
    async with Process(project, worker=True):
        await api.tasks.enqueue("silent")
        await api.tasks.enqueue("silent", {"fail": True})
        await until(lambda: "job failed" in stream.getvalue())
    found = {line["event"]: line for line in lines(stream)}

    assert found["job succeeded"]["result"] == "<a Silent whose repr raised RuntimeError>"
    assert found["job failed"]["error"].startswith("Silent: <the error's own __str__ raised")


async def test_a_job_that_cant_be_read_is_one_line(
    make_project: MakeProject, redis: Redis, stream: io.StringIO
) -> None:
    """It says what is wrong, which task it names if any, and where its bytes are; none of their content,
    though inputs are shown, nor our code's traceback. So does that of a delayed one, and of a dead worker's.
    """
    settings = {"logger.level": "info", "logger.arguments": True, "tasks.max_payload": 300}
    project = make_project(settings, tasks__a=TASKS)
    later = b'{"queue":"default","class":"talk","args":["hunter2'
    bad = [b"", b"hunter2", b'{"class":"talk","args":["\xffhunter2"]}', b'{"args":["hunter2"]}',
           b'{"class":"talk","args":["' + b"hunter2" * 50 + b'"]}']  # fmt: skip
    await redis.rpush("resque:queue:default", *bad)
    await redis.sadd("resque:queues", "default")
    await redis.zadd("resque:delayed_queue_schedule", {"5": 5})
    await redis.rpush("resque:delayed:5", later)
    log.configure(project.config.logger, project.name, stream)
    async with Process(project, worker=True, scheduler=True):
        await until(lambda: stream.getvalue().count("in the failed list") == len(bad) + 1)
    failed = [each for each in lines(stream) if each["event"] == "job failed"]
    [moved] = [each for each in lines(stream) if each["event"] == "scheduler error"]

    assert sorted(each.get("task", "-") for each in failed) == ["-", "-", "-", "-", "talk"]
    assert all({"error", "kept", "queue", "worker"} <= each.keys() for each in failed)
    assert not any({"traceback", "where", "inputs"} & each.keys() for each in failed)
    assert {each["queue"] for each in failed} == {"default"}
    assert "due at 5" in moved["error"]
    assert "hunter" not in stream.getvalue()
    assert await redis.llen("resque:failed") == len(bad) + 1


@pytest.mark.usefixtures("stream")
def test_people_get_lines_to_read() -> None:
    """On a terminal; JSON on demand there, too."""
    for wanted, begins in (("auto", "\x1b["), ("console", "\x1b["), ("json", "{")):
        terminal = Terminal()
        log.configure(LoggerConfig(format=wanted), "shop", terminal)
        log.get_logger().info("hello", n=1)
        assert terminal.getvalue().startswith(begins)
        assert "hello" in terminal.getvalue()


def test_lines_of_one_process_of_several_have_its_number(stream: io.StringIO) -> None:
    """For people and for programs, also those of libraries; what a line says itself counts more."""
    log.configure(LoggerConfig(), "shop", stream, process=2)
    log.get_logger().info("ours", n=1)
    logging.getLogger("x").warning("a library's")
    log.get_logger().info("theirs", process="other")
    terminal = Terminal()
    log.configure(LoggerConfig(), "shop", terminal, process=2)
    log.get_logger().info("ours")

    assert [line["process"] for line in lines(stream)] == [2, 2, "other"]
    assert list(lines(stream)[0])[2:] == ["event", "app", "process", "n"]
    assert re.search(r"process\S*=\S*2", terminal.getvalue())


def test_an_application_with_logs_of_its_own_keeps_them(stream: io.StringIO) -> None:
    """Inside another program only what nobody configured is configured."""
    log.configure(LoggerConfig(level="error"), "ours", stream)
    log.configure_if_nobody_did(LoggerConfig(level="debug"), "resqpy")
    log.get_logger().info("hidden")

    assert stream.getvalue() == ""


def test_configuring_twice_writes_once(stream: io.StringIO) -> None:
    """The standard library's handler is replaced, not added to."""
    for _ in range(2):
        log.configure(LoggerConfig(), "shop", stream)
    logging.getLogger("x").warning("once")

    assert len(lines(stream)) == 1


def test_the_filter() -> None:
    """Names that contain a word, at any depth; long texts and lists cut; nothing endless."""
    shown = log.Filter(LoggerConfig(filtered=("Token",), max_string=3, max_items=2)).shown
    endless: list[Any] = []
    endless.append(endless)

    assert shown({"a": {"myTOKENs": 1, "b": [1, 2, 3]}}) == {
        "a": {"myTOKENs": "[FILTERED]", "b": [1, 2, "… 3 in all"]}
    }
    assert shown("abcd") == "abc…"
    assert shown(endless) == [[[["…"]]]]
    assert shown(object) == "<cl…"


def test_fields_of_records_are_filtered_like_those_of_dicts() -> None:
    """By their names, in whatever holds them; a value that JSON can't have costs nothing but itself."""

    class Pair(NamedTuple):
        token: str
        n: int

    @dataclass
    class Login:
        password: str
        at: datetime
        price: Decimal = Decimal("1.50")

    naive = datetime(2026, 1, 2)  # noqa: DTZ001 - what can't be written
    shown = log.Filter(LoggerConfig(filtered=("token", "password"))).shown
    made = shown({"a": [Login("tiger", naive)], "b": Pair("lion", 1), "c": {Decimal(2)}})

    assert made == {
        "a": [{"password": "[FILTERED]", "at": repr(naive), "price": "1.50"}],
        "b": {"token": "[FILTERED]", "n": 1},
        "c": ["2"],
    }


MORE = """
    import asyncio, resqpy

    @resqpy.task(retry={"retry_limit": 2, "retry_delay": 1})
    async def again() -> None:
        "Fail."
        raise ValueError("redis://:tiger@h and postgres://u:tiger@db")

    @resqpy.task()
    async def tracked() -> None:
        "Do nothing."
        await asyncio.sleep(0)
"""


async def test_a_line_says_which_attempt_of_which_task(
    make_project: MakeProject, stream: io.StringIO
) -> None:
    """Of how many; of a tracked task its id and how long it waited."""
    project = make_project({"logger.level": "info"}, tasks__a=MORE)
    log.configure(project.config.logger, project.name, stream)
    async with Process(project, worker=True, scheduler=True):
        made = await api.tracked.create("tracked", {})
        await api.tasks.enqueue("again")
        await until(lambda: "job failed" in stream.getvalue())
        await until(lambda: made.id in stream.getvalue())
    found = lines(stream)
    [failed] = [each for each in found if each["event"] == "job failed"]
    [delayed] = [each for each in found if each["event"] == "job delayed"]
    [done] = [each for each in found if each["event"] == "job succeeded"]

    assert [(each["attempt"], each["of"]) for each in (delayed, failed)] == [(1, 2), (2, 2)]
    assert (done["id"], done["attempt"]) == (made.id, 1)
    assert isinstance(done["waited_ms"], int)
    assert not any("waited_ms" in each for each in (delayed, failed))  # nothing says since when
    assert "tiger" not in stream.getvalue()
    assert not [each for each in found if each["event"] in {"worker started", "worker ended"}]


def test_nothing_twice_beside_basic_config(
    stream: io.StringIO, capfd: pytest.CaptureFixture[str]
) -> None:
    """A handler of the screen that a task's module set up is replaced; one to elsewhere stays."""
    root, kept = logging.getLogger(), io.StringIO()
    theirs: list[logging.Handler] = [logging.StreamHandler(), logging.StreamHandler(kept)]
    for each in theirs:
        root.addHandler(each)
    try:
        log.configure(LoggerConfig(level="info", format="json"), "shop", stream)
        logging.getLogger("lib").warning("once")
        assert stream.getvalue().count("once") == 1
        assert "once" in kept.getvalue()
        assert "once" not in capfd.readouterr().err
    finally:
        for each in theirs:
            root.removeHandler(each)


@pytest.mark.parametrize("form", ["console", "json"])
def test_foreign_text_in_a_log(form: str, stream: io.StringIO) -> None:
    """No escape sequences, direction marks, forged lines or passwords, also in what an error says."""
    log.configure(LoggerConfig(format=form), "shop", stream)
    evil = "\x1b[31m\u202e\n2030 forged redis://:tiger@h"
    try:
        raise ValueError(evil)
    except ValueError:
        log.get_logger().exception(evil, name=evil)
        logging.getLogger("lib").exception("%s", evil)
    shown = stream.getvalue()

    assert "tiger" not in shown
    assert not [sign for sign in shown if sign != "\n" and not sign.isprintable()]
    if form == "json":
        assert len(shown.splitlines()) == 2
    assert not [
        line for line in shown.splitlines() if line.startswith("2030 forged") and form == "json"
    ]


def test_stacks_on_a_terminal_are_lines() -> None:
    """As a traceback's are: nobody reads them in one."""
    terminal = Terminal()
    log.configure(LoggerConfig(format="console"), "shop", terminal)
    log.get_logger().critical("blocked", remedy="wait", stacks="thread a\n  File x")
    assert terminal.getvalue().splitlines()[-2:] == ["thread a", "  File x"]


STRANGE = [
    "t",
    "a?token=x",
    "redis://u:pw@h",
    "\u202e\x7f\u00fc\u2028",
    "1000-10-01",
    "a b='c'",
    "",
]
FAILURE = ValueError("redis://:tiger@h 'token': 'x'\n\u202e")
LONG = "x" * 2000


def failing(words: str, *notes: str, token: bool = False) -> Exception:
    """An error that was raised."""
    try:
        if token:
            raise KeyError({"token": "x"}["token"] + words)
        raise ValueError(words) if words != "of another" else subprocess.SubprocessError(words)
    except (ValueError, KeyError, subprocess.SubprocessError) as error:
        for note in notes:
            error.add_note(note)
        return error


FAILURES = [
    *map(
        failing,
        ("no such user", "of another", "user 17 'x' \\ \"y\"", "", "a\nb", "\u00fc", "a=b", LONG),
    ),
    *map(
        failing,
        (
            "redis://u:pw@h",
            "'token': 'x'",
            "WORDS-10-01-1000",
            "1000-10-01",
            "10001000100001",
            "x\x7f",
        ),
    ),
    failing("no such user", "a note"),
    failing("no such user", token=True),
    failing("no such user"),
]
OF_TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z|\d\d:\d\d:\d\d\.\d+")


def ended(name: str, result: Any, ms: int) -> EndedJob:
    """The end of a job of slot 2; with an error, it has failed."""
    worker_id = WorkerId("host", "1-2-abc", "*")
    store = Store(RedisOptions(url="redis://nowhere"))
    run = Run(Job(name, [], name, b"{}", {}), None, worker_id, store)
    run.slot = Slot(2, worker_id)
    outcome = Outcome(OutcomeKind.SUCCESS, result=result) if result else SUCCEEDED
    if isinstance(result, Exception):
        run.error, outcome = result, Outcome(OutcomeKind.FAILURE, error=result)
        run.traceback = lines_of(result)
    return EndedJob(run.slot, run, outcome, None, ms)


def lines_of_ends(config: Config, screen: io.StringIO, ends: list[EndedJob]) -> list[str]:
    """What is logged of successes and failures, without the time."""
    log.configure(config.logger, "shop", screen, process=3)
    worker = MultiWorker("redis://nowhere", {})
    EventLog(config, Path("/nowhere")).follow_worker(worker)
    succeeded = [end for end in ends if end.outcome.error is None]
    worker.tell("successes", None, succeeded)
    worker.tell("failures", None, [end for end in ends if end not in succeeded])
    for end in sorted(ends, key=lambda end: end.outcome.error is not None):
        tell_end(worker, end, void=False)
    return [OF_TIME.sub("TIME", line) for line in screen.getvalue().splitlines()]


@pytest.mark.parametrize("bound", [{}, {"user": "u", "task": "theirs"}])
@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize("arguments", [False, True])
@pytest.mark.usefixtures("stream")
def test_an_end_is_the_line_that_the_processors_make(
    form: str,
    kind: type[io.StringIO],
    bound: dict[str, Any],
    arguments: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Byte for byte, the first time and from what was kept of it, whatever the task and its queue are called."""
    config = load_config(Path("/nowhere"), environ={})
    config = replace(
        config, logger=replace(config.logger, format=form, arguments=arguments, level="info")
    )
    ends = [
        ended(name, result, ms)
        for name in STRANGE
        for ms, result in enumerate((None, True, None, FAILURE, *FAILURES))
    ]
    with structlog.contextvars.bound_contextvars(**bound):
        quick = lines_of_ends(config, kind(), ends)
        monkeypatch.setattr(events, "direct_lines", lambda _level: None)
        one_by_one = lines_of_ends(config, kind(), ends)
    assert len(one_by_one) >= len(ends)
    assert quick == one_by_one


@pytest.mark.usefixtures("stream")
def test_a_success_is_the_line_of_changed_processors() -> None:
    """Those of the application, or ours with others among them."""
    config = load_config(Path("/nowhere"), environ={})
    config = replace(config, logger=replace(config.logger, format="json", level="info"))
    screen = io.StringIO()
    assert '"more": 1' not in lines_of_ends(config, screen, [ended("t", None, 1)])[0]
    worker = MultiWorker("redis://nowhere", {})
    EventLog(config, Path("/nowhere")).follow_worker(worker)
    structlog.get_config()["processors"].insert(
        0, lambda _logger, _level, line: {**line, "more": 1}
    )
    worker.tell("successes", None, [ended("t", None, 1)])
    assert '"more": 1' in screen.getvalue().splitlines()[-1]

    structlog.configure(processors=[structlog.processors.KeyValueRenderer()])
    EventLog(config, Path("/nowhere")).follow_worker(worker := MultiWorker("redis://nowhere", {}))
    tell_end(worker, ended("t", None, 1), void=False)
    assert screen.getvalue().splitlines()[-1].startswith("task='t'")
