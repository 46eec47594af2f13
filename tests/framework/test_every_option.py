"""Every setting does something: for each one, a change of it and the effect that is seen.

`EFFECTS` is walked through; a setting that has no row there fails the last test.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy.base import codec
from resqpy.base.errors import UsageError
from resqpy.framework.api.api import api
from resqpy.framework.config.config import (
    Config,
    load_config,
    redis_options,
    scaling_options,
    scheduler_options,
    url_of,
    worker_options,
)
from resqpy.framework.config.merge import KNOWN
from resqpy.framework.logs.events import EventLog
from resqpy.framework.logs.log import Filter
from resqpy.framework.process.process import Process
from resqpy.tracked.checks import preset
from tests.framework.conftest import Files, MakeProject, until
from tests.support.waiting import PATIENCE_S

See = Callable[[Config], Any]


def _url(config: Config) -> str:
    return url_of(config.redis)


# What each setting becomes for the part that reads it: value, what is seen with it, what without it.
# The parts' own tests prove what those options do there.
SEEN: dict[str, tuple[Any, See, Any, Any]] = {
    "tasks.timeout": (70, lambda c: worker_options(c).timeout_s, 0.07, 5.0),
    "tasks.stop_timeout": (70, lambda c: worker_options(c).stop_timeout_s, 0.07, 25.0),
    "tasks.cancel_timeout": (70, lambda c: worker_options(c).cancel_timeout_s, 0.07, 2.0),
    "tasks.heartbeat": (70, lambda c: worker_options(c).heartbeat_s, 0.07, 10.0),
    "tasks.max_payload": ("1kB", lambda c: worker_options(c).max_payload, 1024, codec.MAX_PAYLOAD),
    "tasks.max_threads": (3, lambda c: worker_options(c).max_threads, 3, None),
    "tasks.host": ("h", lambda c: worker_options(c).host, "h", None),
    "tasks.min_task_processors": (4, lambda c: scaling_options(c).min_task_processors, 4, 1),
    "tasks.max_task_processors": (4, lambda c: scaling_options(c).max_task_processors, 4, 10),
    "tasks.check_timeout": (70, lambda c: scaling_options(c).check_s, 0.07, 0.5),
    "tasks.max_event_loop_delay": (
        7.5,
        lambda c: scaling_options(c).max_event_loop_delay_ms,
        7.5,
        5.0,
    ),
    "tasks.stuck_worker_timeout": (
        70,
        lambda c: scheduler_options(c).stuck_worker_timeout_ms,
        70,
        3_600_000,
    ),
    "tasks.retry_stuck_jobs": (True, lambda c: scheduler_options(c).retry_stuck_jobs, True, False),
    "tasks.queue_limits": ({"q": 2}, lambda c: redis_options(c).queue_limits, {"q": 2}, None),
    "tasks.running_limits": ({"q": 2}, lambda c: worker_options(c).running_limits, {"q": 2}, None),
    "tasks.ruby_queues": (["q"], lambda c: list(redis_options(c).ruby_queues), ["q"], []),
    "tasks.failed_per_queue": (True, lambda c: redis_options(c).failed_per_queue, True, False),
    "tasks.full_queue_wait": (70, lambda c: redis_options(c).full_queue_wait_s, 0.07, 0.0),
    "tasks.connection_options": (
        {"client_name": "x"},
        lambda c: redis_options(c).extra,
        {"client_name": "x"},
        {},
    ),
    "scheduler.timeout": (70, lambda c: scheduler_options(c).timeout_s, 0.07, 5.0),
    "scheduler.lease": (4000, lambda c: scheduler_options(c).lease_s, 4.0, 10.0),
    "scheduler.foreign_lock_ttl": (
        60_000,
        lambda c: scheduler_options(c).foreign_lock_ttl_s,
        60,
        180,
    ),
    "scheduler.ruby_lock_prefix": ("p", lambda c: scheduler_options(c).ruby_lock_prefix, "p", ""),
    "scheduler.name": ("me", lambda c: scheduler_options(c).name, "me", None),
    "scheduler.rescue_after": (9000, lambda c: scheduler_options(c).rescue_after_s, 9.0, 30.0),
    "scheduler.task_lost_after": (
        9000,
        lambda c: scheduler_options(c).task_lost_after_ms,
        9000,
        300_000,
    ),
    "tasks.tracked_preset": (
        "twin",
        lambda c: preset(c.tasks.tracked_preset).retain_ms,
        0,
        None,
    ),
    "scheduler.failed_keep": (9, lambda c: scheduler_options(c).failed_keep, 9, None),
    "scheduler.failed_for": (9000, lambda c: scheduler_options(c).failed_for_ms, 9000, None),
    "scheduler.failed_archive": (
        "os.path.join",
        lambda c: scheduler_options(c).failed_archive,
        os.path.join,
        None,
    ),
    "scheduler.ruby_leads": (True, lambda c: scheduler_options(c).ruby_leads, True, False),
    "scheduler.ruby_prune_after": (
        900_000,
        lambda c: scheduler_options(c).ruby_prune_after_ms,
        900_000,
        None,
    ),
    "scheduler.ruby_env": ("test", lambda c: scheduler_options(c).ruby_env, "test", None),
    "scheduler.ruby_timezone": ("UTC", lambda c: scheduler_options(c).ruby_timezone, "UTC", None),
    "redis.url": (
        "redis://h/2",
        lambda c: redis_options(c).url,
        "redis://h/2",
        "redis://127.0.0.1:6379/0",
    ),
    "redis.host": ("::1", _url, "redis://[::1]:6379/0", "redis://127.0.0.1:6379/0"),
    "redis.port": (7, _url, "redis://127.0.0.1:7/0", "redis://127.0.0.1:6379/0"),
    "redis.db": (7, _url, "redis://127.0.0.1:6379/7", "redis://127.0.0.1:6379/0"),
    "redis.user": ("a:b", _url, "redis://a%3Ab:@127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
    "redis.password": ("p@", _url, "redis://:p%40@127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
    "redis.ssl": (True, _url, "rediss://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
    "redis.namespace": ("app", lambda c: redis_options(c).namespace, "app", "resque"),
    "redis.sentinels": (["h:1"], lambda c: redis_options(c).sentinels, (("h", 1),), ()),
    "redis.sentinel_service": ("m", lambda c: redis_options(c).sentinel_service, "m", "mymaster"),
    "redis.sentinel_options": (
        {"password": "p"},
        lambda c: redis_options(c).sentinel_kwargs,
        {"password": "p"},
        {},
    ),
    "redis.cluster_nodes": (["h:1"], lambda c: redis_options(c).seeds, (("h", 1),), ()),
    "redis.wait_replicas": (2, lambda c: redis_options(c).wait_replicas, 2, 0),
    "redis.wait_timeout": (70, lambda c: redis_options(c).wait_timeout_s, 0.07, 1.0),
    "redis.startup_timeout": (70, lambda c: redis_options(c).startup_timeout_s, 0.07, 30.0),
    "redis.cluster": (True, lambda c: redis_options(c).cluster, True, False),
    "redis.connect_timeout": (70, lambda c: redis_options(c).connect_timeout_s, 0.07, 5.0),
    "redis.reply_timeout": (70, lambda c: redis_options(c).reply_timeout_s, 0.07, 15.0),
    "logger.filtered": (
        ["a"],
        lambda c: Filter(c.logger).shown({"a": 1}),
        {"a": "[FILTERED]"},
        {"a": 1},
    ),
    "logger.max_string": (1, lambda c: Filter(c.logger).shown("abc"), "a…", "abc"),
    "logger.max_items": (
        1,
        lambda c: Filter(c.logger).shown([1, 2]),
        [1, "… 2 in all"],
        [1, 2],
    ),
}


@pytest.mark.parametrize("path", SEEN)
def test_a_setting_reaches_the_part_that_reads_it(tmp_path: Path, path: str) -> None:
    """In the part's own unit, and only if it is set."""
    value, see, expected, otherwise = SEEN[path]

    assert see(load_config(tmp_path, "production", {path: value}, environ={})) == expected
    assert see(load_config(tmp_path, "production", environ={})) == otherwise


class Part:
    """Collects the listeners that a part gets."""

    def __init__(self) -> None:
        self.listeners: list[tuple[str, Any]] = []

    @property
    def events(self) -> set[str]:
        """Those that somebody listens to."""
        return {event for event, _ in self.listeners}

    def on(self, event: str, listener: Any) -> Any:
        """A listener."""
        self.listeners.append((event, listener))
        return listener

    def off(self, event: str, listener: Any) -> None:
        """A listener goes."""
        self.listeners.remove((event, listener))


EVENTS = {
    "worker_logging": {
        "failure": "failure", "success": "success", "re_enqueue": "re_enqueue", "start": "start",
        "end": "end", "cleaning_worker": "cleaning_worker", "poll": "poll", "ping": "ping",
        "job": "job", "pause": "pause", "internal_error": "error",
        "multi_worker_action": "multi_worker_action",
    },
    "scheduler_logging": {
        "start": "start", "end": "end", "leader": "leader", "follower": "follower", "poll": "poll",
        "enqueue": "enqueue", "re_enqueue": "re_enqueue", "working_timestamp": "working_timestamp",
        "transferred_job": "transferred_job", "cleaning_worker": "cleaning_worker",
        "internal_error": "error",
    },
}  # fmt: skip
LEVELS = [f"tasks.{group}.{name}" for group, names in EVENTS.items() for name in names]


@pytest.mark.parametrize("path", LEVELS)
def test_the_level_of_an_event(tmp_path: Path, path: str) -> None:
    """None: no listener at all; below the logger's level: none either, so it costs nothing."""
    _, group, name = path.split(".")

    def listens(level: str | None, least: str) -> bool:
        overrides = {"logger.level": least, f"tasks.{group}.{name}": level or "off"}
        config = load_config(tmp_path, "production", overrides, environ={})
        part, log = Part(), EventLog(config, tmp_path)
        follow = log.follow_worker if group == "worker_logging" else log.follow_scheduler
        follow(part)
        first = part.events
        log.set_level("critical")
        assert not part.events
        log.set_level(least)
        assert part.events == first
        return EVENTS[group][name] in part.events or f"{EVENTS[group][name]}es" in part.events

    assert listens("debug", "debug")
    assert listens("error", "info")
    assert not listens("info", "warning")
    assert not listens(None, "debug")


TASKS = """
from resqpy import task

@task(queue="a")
async def in_a(): "I am in a."

@task(queue="b")
async def in_b(): "I am in b."

@task(cron="0 0 9 * * *")
def daily(): "Each day at nine."
"""


@pytest.mark.parametrize("queues", [["a"], lambda: ["a"], "async"])
async def test_queues(make_project: MakeProject, queues: Any) -> None:
    """Only those are worked that it names, or that the function returns."""

    async def asked() -> list[str]:
        return ["a"]

    wanted = asked if queues == "async" else queues
    async with Process(make_project({"tasks.queues": wanted}, tasks__a=TASKS), worker=True):
        await api.tasks.enqueue("in_b")
        await api.tasks.enqueue("in_a")
        await until(lambda: _is_empty("a"))
        assert await api.tasks.length("b") == 1


@pytest.mark.parametrize(
    ("returned", "words"),
    [([], "queues"), (None, "is not a list of texts"), (OSError("no"), "OSError")],
)
async def test_a_function_that_names_no_queues(
    make_project: MakeProject, returned: Any, words: str
) -> None:
    """The process doesn't start, and says whose fault it is."""

    def my_queues() -> Any:
        if isinstance(returned, Exception):
            raise returned
        return returned

    with pytest.raises(UsageError, match=rf"tasks.queues: the function .*my_queues: .*{words}"):
        await Process(make_project({"tasks.queues": my_queues}), worker=True).start()


async def _is_empty(queue: str) -> bool:
    return await api.tasks.length(queue) == 0


async def test_scheduler(make_project: MakeProject) -> None:
    """Whether the process has one."""
    for wanted in (True, False):
        async with Process(make_project({"tasks.scheduler": wanted})) as process:
            assert (process.resque.scheduler is not None) == wanted


def test_to_disconnect_processors_is_accepted(tmp_path: Path) -> None:
    """It has no effect, and the words of its documentation say so."""
    path = "tasks.to_disconnect_processors"
    config = load_config(tmp_path, "production", {path: False}, environ={})

    assert config.tasks.to_disconnect_processors is False
    assert "without effect" in KNOWN[path].words


def test_name(make_project: MakeProject) -> None:
    """The application's, in each line of the log; else the folder's."""
    assert make_project({"general.name": "shop"}).name == "shop"
    assert make_project().name == "demo"


def test_timezone(make_project: MakeProject) -> None:
    """Of the cron tasks that name none."""
    for zone in ("Europe/Berlin", "UTC"):
        task = make_project({"general.timezone": zone}, tasks__a=TASKS).registry.task("daily")
        assert task.schedule is not None
        assert task.schedule.zone_name == zone


def test_modules(files: Files) -> None:
    """Which are loaded, and in which order; one that is not there is an error."""
    files.write(
        **{
            f"modules__{name}__tasks__t": ("from resqpy import task\n@task()\ndef t(): 'T.'\n")
            for name in ("one", "two", "three")
        }
    )

    assert list(files.load().registry.tasks) == ["one.t", "three.t", "two.t"]
    chosen = files.load({"general.modules": ["two", "*"]}).registry.tasks
    assert list(chosen) == ["two.t", "one.t", "three.t"]
    assert list(files.load({"general.modules": "one"}).registry.tasks) == ["one.t"]
    [problem] = files.problems(overrides={"general.modules": ["tow"]})
    assert problem == "general.modules: there is no modules/tow; did you mean 'two'?"


def test_packages(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed packages bring tasks, plugins and initializers by entry point, unless they may not."""
    site = files.root / "site-packages"
    files.write(
        **{
            "site-packages__brought": """
        from resqpy import Initializer, Plugin, task

        class Loud(Plugin): ...

        class Mail(Initializer): ...

        @task("brought.task", plugins=["Loud"])
        def t(): "T."
        """
        }
    )
    info = site / "brought-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: brought\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[resqpy.tasks]\nb = brought\n[resqpy.plugins]\nl = brought:Loud\n"
        "[resqpy.initializers]\nm = brought:Mail\n"
    )
    monkeypatch.syspath_prepend(str(site))
    project = files.load()

    assert project.errors == ()
    assert list(project.registry.tasks) == ["brought.task"]
    assert list(project.registry.plugins) == ["Loud"]
    assert len(project.registry.initializers) == 1
    assert len(files.load({"general.packages": False}).registry) == 0
    (info / "entry_points.txt").write_text("[resqpy.tasks]\nb = brought:nothing\n")
    [problem] = files.problems()
    assert "b (brought:nothing)" in problem


async def test_max_payload_and_retention_of_the_job(make_project: MakeProject) -> None:
    """A larger job is not run: it fails, with the reason."""
    project = make_project(
        {"tasks.max_payload": 100},
        tasks__a="""
    from resqpy import task

    @task(queue="a")
    async def large(text: str): "I am large."
    """,
    )
    async with Process(project, worker=True):
        await api.tasks.enqueue("large", {"text": "x" * 200})
        await until(api.tasks.failed_count)
        [failed] = await api.tasks.failed()

    assert failed.exception == "PayloadError"
    size = len('{"class":"large","queue":"a","args":[{"text":""}]}') + 200
    assert failed.error == f"the job has {size} bytes; the limit is 100 (tasks.max_payload)"


async def test_host_and_connection_options(make_project: MakeProject, redis: Redis) -> None:
    """Seen in Redis: the id of the worker, and the name of its connections."""
    project = make_project(
        {"tasks.host": "box", "tasks.connection_options": {"client_name": "resqpy-test"}}
    )
    async with Process(project, worker=True):
        [worker] = await api.tasks.workers()
        names = [each["name"] for each in await redis.client_list()]

    assert worker.startswith(f"box+resqpy:{os.getpid()}-1-")
    assert "resqpy-test" in names


async def test_namespace(make_project: MakeProject, redis: Redis) -> None:
    """Another installation on the same Redis."""
    async with Process(make_project({"redis.namespace": "app"}, tasks__a=TASKS)):
        await api.tasks.enqueue("in_a")

    assert sorted(await redis.keys("*")) == [b"app:queue:a", b"app:queues"]


async def test_an_empty_namespace(make_project: MakeProject, redis: Redis) -> None:
    """As node-resque has it: no prefix at all."""
    async with Process(make_project({"redis.namespace": ""}, tasks__a=TASKS)):
        await api.tasks.enqueue("in_a")

    assert sorted(await redis.keys("*")) == [b"queue:a", b"queues"]


# What other tests prove, by their names: for readers, and for the count below.
ELSEWHERE = {
    "tasks.queues": "test_queues",
    "tasks.scheduler": "test_scheduler",
    "tasks.to_disconnect_processors": "test_to_disconnect_processors_is_accepted",
    "tasks.resque_overrides.queue": "test_overrides.py",
    "tasks.resque_overrides.multi_worker": "test_overrides.py",
    "tasks.resque_overrides.scheduler": "test_overrides.py",
    "general.name": "test_name",
    "general.timezone": "test_timezone",
    "general.modules": "test_modules",
    "general.packages": "test_packages",
    "logger.level": "test_the_level_of_an_event, test_log.py",
    "logger.format": "test_log.py",
    "logger.file": "test_a_log_file",
    "logger.arguments": "test_log.py",
    "process.burst": "test_process.py",
    "process.max_jobs": "test_process.py",
    "process.max_memory": "test_process.py",
    "process.health_port": "test_health.py",
    "process.health_host": "test_health.py",
    "process.signals": "test_process.py",
    "process.loop": "the command line's tests",
    "process.processes": "the command line's tests",
    "process.pool": "the command line's tests",
    "process.pidfile": "the command line's tests",
    "process.daemon": "the command line's tests",
}


def test_a_log_file(tmp_path: Path) -> None:
    """Lines are appended to it."""
    from resqpy.framework.logs import log, writer as log_writer

    file = tmp_path / "log"
    config = load_config(tmp_path, "production", {"logger.file": str(file)}, environ={})
    log.configure(config.logger, "shop")
    log.get_logger().info("hello")
    log_writer.flush(PATIENCE_S)

    assert '"event": "hello"' in file.read_text()
    assert os.linesep in file.read_text()


def test_no_setting_is_forgotten() -> None:
    """Each has its row above."""
    assert {*SEEN, *LEVELS, *ELSEWHERE} == set(KNOWN)
