"""A process: its life, its signals, and its life inside another program."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from redis import Redis as SyncRedis

from resqpy import lifespan, open_project
from resqpy.base.errors import PoolStateError, StoreUnavailable, UsageError
from resqpy.embedded import PrivateServer
from resqpy.framework.api.api import api
from resqpy.framework.process.process import Process
from resqpy.framework.process.signals import SAME_WITHIN_S
from resqpy.framework.project.problems import ProjectErrors
from tests.framework.conftest import Files, MakeProject, until
from tests.support.waiting import PATIENCE_S, wait_until

TASKS = """
import asyncio
import sys
import time
from resqpy import api, task

@task()
async def wait(ms: int):
    '''I wait.'''
    await asyncio.sleep(ms / 1000)
    return "waited"

@task()
async def grow(ms: int):
    '''I take much memory, and keep it.'''
    api.kept = bytearray(b"x" * 100_000_000)

@task()
def block(ms: int):
    '''I block a thread.'''
    print("blocking now", file=sys.stderr, flush=True)
    time.sleep(ms / 1000)
"""


async def test_nothing_starts_when_something_is_wrong(make_project: MakeProject) -> None:
    """Before any worker starts, with all that is wrong."""
    project = make_project(tasks__a="def", config__tasks="def default(): return {'x': 1}")

    with pytest.raises(ProjectErrors, match="2 problems"):
        await Process(project, worker=True).start()
    assert not api.started


async def test_a_process_starts_once(make_project: MakeProject) -> None:
    """A second start is an error; a second stop is none."""
    process = Process(make_project(), worker=True)
    async with process:
        with pytest.raises(PoolStateError, match="already"):
            await process.start()
    await process.stop()
    with pytest.raises(PoolStateError):
        _ = Process(make_project()).resque


async def test_the_door_leads_to_the_last_process(make_project: MakeProject) -> None:
    """And back to the one before it, when that has stopped."""
    project = make_project(tasks__a=TASKS)
    async with Process(project) as first:
        tasks = api.tasks
        async with Process(project):
            assert api.tasks is not tasks
        assert api.tasks is tasks
        assert first.bound.things["tasks"] is tasks
    assert not api.started


async def test_redis_that_is_away_is_told(make_project: MakeProject) -> None:
    """When the time of a start is over; and nothing is left started."""
    away = {"redis.url": "redis://127.0.0.1:1/0", "redis.startup_timeout": 300}
    with pytest.raises(StoreUnavailable):
        await Process(make_project(away), worker=True).start()
    assert not api.started


async def test_the_config_says_what_a_process_does(make_project: MakeProject) -> None:
    """No worker with zero processors, unless one is asked for: then from 1 to 10."""
    async with Process(make_project()) as process:
        assert (process.resque.multi_worker, process.resque.scheduler) == (None, None)
    project = make_project({"tasks.max_task_processors": 3, "tasks.scheduler": True})
    async with Process(project) as process:
        assert process.resque.multi_worker is not None
        assert process.resque.multi_worker.scaling.max_task_processors == 3
        assert process.resque.scheduler is not None
    async with Process(make_project(), worker=True) as process:
        assert process.resque.multi_worker is not None
        scaling = process.resque.multi_worker.scaling
        assert (scaling.min_task_processors, scaling.max_task_processors) == (1, 10)


async def test_wait_tells_what_killed_the_worker(make_project: MakeProject) -> None:
    """A part that dies ends the process; it is never swallowed."""
    async with Process(make_project(), worker=True) as process:
        worker = process.resque.multi_worker
        assert worker is not None
        worker.die(ValueError("boom"))
        with pytest.raises(ValueError, match="boom"):
            await asyncio.wait_for(process.wait(), 5)


async def test_lifespan_in_two_lines(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `app = FastAPI(lifespan=resqpy.lifespan("."))` has it: the process lives as long."""
    project = make_project(tasks__a=TASKS)
    monkeypatch.setenv("REDIS_URL", project.config.redis.url or "")
    living = lifespan(project.root, worker=True)
    async with living(object()):
        await api.tasks.enqueue("wait", {"ms": 1})
        await until(_processed)
    assert not api.started


@pytest.mark.parametrize(
    ("parts", "policy", "lost"),
    [
        ({"worker": True}, "allkeys-lru", ["jobs"]),
        ({"scheduler": True}, "volatile-ttl", ["locks"]),
        ({"worker": True, "scheduler": True}, "allkeys-random", ["jobs"]),
        ({"worker": True, "scheduler": True}, "noeviction", []),
        ({}, "allkeys-lru", []),
    ],
)
async def test_a_redis_that_evicts_is_warned_of(
    make_project: MakeProject, parts: dict[str, bool], policy: str, lost: list[str]
) -> None:
    """Once, by a process that works jobs or moves them, with what to do."""
    project = make_project(tasks__a=TASKS)
    structlog.reset_defaults()
    with SyncRedis.from_url(project.config.redis.url or "") as client:
        client.config_set("maxmemory", "1gb", "maxmemory-policy", policy)
        try:
            with structlog.testing.capture_logs() as logs:
                async with Process(project, worker=parts.get("worker", False),
                                   scheduler=parts.get("scheduler", False)):  # fmt: skip
                    pass
        finally:
            client.config_set("maxmemory", "0", "maxmemory-policy", "noeviction")

    told = [each for each in logs if "evict" in each["event"]]
    assert [each["event"] for each in told] == [
        f"Redis may evict {each} when its memory is full" for each in lost
    ]
    assert all(each["log_level"] == "warning" and "noeviction" in each["remedy"] for each in told)


async def test_a_worker_that_dies_inside_another_program_is_told(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the log: the other program goes on."""
    project = make_project(tasks__a=TASKS)
    monkeypatch.setenv("REDIS_URL", project.config.redis.url or "")
    with structlog.testing.capture_logs() as logs:
        async with open_project(project.root, worker=True) as process:
            worker = process.resque.multi_worker
            assert worker is not None
            worker.die(ValueError("boom"))
            await until(lambda: any(each["log_level"] == "critical" for each in logs))
            await api.tasks.enqueue("wait", {"ms": 1})
    [told] = [each for each in logs if each["log_level"] == "critical"]
    assert told["event"] == "this process no longer runs jobs"
    assert "boom" in told["error"]


async def _processed() -> int:
    return (await api.tasks.stats()).get("processed", 0)


async def test_open_project_only_enqueues(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For scripts: no worker, no scheduler."""
    project = make_project(tasks__a=TASKS)
    monkeypatch.setenv("REDIS_URL", project.config.redis.url or "")
    async with open_project(project.root) as process:
        await api.tasks.enqueue("wait", {"ms": 1})
        assert process.resque.multi_worker is None
        assert await api.tasks.length("default") == 1


def test_without_redis_a_project_has_its_own(files: Files) -> None:
    """No REDIS_URL and no config: an embedded one, shared by all processes of the folder."""
    with files.load() as project, files.load() as other:
        assert project.uses_embedded_redis
        assert project.connection().url == other.connection().url
        assert project.connection().url.startswith("unix://")


# -- signals, on a process of its own --

MAIN = """
import asyncio
import sys
from resqpy.framework.logs import log
from resqpy.framework.process.process import Process
from resqpy.framework.project.project import Project

project = Project.load(sys.argv[1])
log.configure(project.config.logger, project.name)
asyncio.run(Process(project, worker=True).run())
print("ended in order", flush=True)
"""


class Running:
    """A process of workers, with its log."""

    def __init__(self, files: Files, url: str, **environ: str) -> None:
        self.redis = SyncRedis.from_url(url)
        self._log = files.root / "log.txt"
        files.write(tasks__a=TASKS)
        self._file = self._log.open("w")
        self.popen = subprocess.Popen(
            [sys.executable, "-c", MAIN, str(files.root)],
            env={
                **os.environ,
                "REDIS_URL": url,
                "RESQPY_ENV": "development",
                "VVERBOSE": "1",
                **environ,
            },
            stdout=self._file,
            stderr=self._file,
            cwd=Path(__file__).parents[2],
        )
        self.wait_for_line("worker started")

    def enqueue(self, name: str, ms: int) -> None:
        """Push a job as a foreign client does."""
        self.redis.sadd("resque:queues", "default")
        job = {"class": name, "queue": "default", "args": [{"ms": ms}]}
        self.redis.rpush("resque:queue:default", json.dumps(job))

    def lines(self) -> list[str]:
        """What was logged."""
        return self._log.read_text().splitlines()

    def wait_for_line(self, words: str) -> str:
        """The first line with these words."""
        found = wait_until(
            lambda: [line for line in self.lines() if words in line], f"no {words!r}"
        )
        return found[0]

    def signal(self, *which: signal.Signals) -> None:
        """Send signals."""
        for each in which:
            self.popen.send_signal(each)
            time.sleep(0.1)

    def close(self) -> None:
        """End it, whatever it does."""
        self.popen.kill()
        self.popen.wait()
        self.redis.close()
        self._file.close()


@pytest.fixture
def start(files: Files, redis_server: PrivateServer, redis_url: str) -> Iterator[Any]:
    """Start a process of workers."""
    running: list[Running] = []

    def begin(**environ: str) -> Running:
        running.append(Running(files, redis_url, **environ))
        return running[-1]

    yield begin
    for each in running:
        each.close()


def test_term_lets_running_jobs_end(start: Any) -> None:
    """Then it ends in order, with 0."""
    running = start()
    running.enqueue("wait", 400)
    running.wait_for_line("job started")
    running.signal(signal.SIGTERM)

    assert running.popen.wait(PATIENCE_S) == 0
    assert running.wait_for_line("job succeeded")
    assert running.wait_for_line("ended in order")
    assert running.redis.smembers("resque:workers") == set()


def test_a_second_term_stops_now_and_puts_the_job_back(start: Any) -> None:
    """The job that was cancelled stands in its queue again."""
    running = start()
    running.enqueue("wait", 60_000)
    running.wait_for_line("job started")
    running.signal(signal.SIGINT)
    time.sleep(SAME_WITHIN_S)
    running.signal(signal.SIGTERM)

    assert running.popen.wait(PATIENCE_S) == 0
    assert running.redis.llen("resque:queue:default") == 1
    assert running.redis.llen("resque:failed") == 0


def test_two_at_once_are_one(start: Any) -> None:
    """A service manager tells a supervisor and its children, and the supervisor tells them again."""
    running = start()
    running.enqueue("wait", 600)
    running.wait_for_line("job started")
    running.signal(signal.SIGTERM, signal.SIGTERM)

    assert running.popen.wait(PATIENCE_S) == 0
    assert running.wait_for_line("job succeeded")


def test_the_time_that_jobs_get_is_configured(start: Any) -> None:
    """RESQUE_TERM_TIMEOUT is its historic name, in seconds."""
    running = start(RESQUE_TERM_TIMEOUT="0.2")
    running.enqueue("wait", 60_000)
    running.wait_for_line("job started")
    running.signal(signal.SIGTERM)

    assert running.popen.wait(PATIENCE_S) == 0
    assert running.redis.llen("resque:queue:default") == 1


def test_quit_drains_without_limit(start: Any) -> None:
    """Resque's meaning of QUIT is kept."""
    running = start(RESQUE_TERM_TIMEOUT="0.1")
    running.enqueue("wait", 600)
    running.wait_for_line("job started")
    running.signal(signal.SIGQUIT)

    assert running.popen.wait(PATIENCE_S) == 0
    assert running.wait_for_line("job succeeded")


def test_the_profile_resque_stops_at_once(start: Any) -> None:
    """There TERM means now, as with Ruby's workers."""
    running = start(RESQPY_PROCESS_SIGNALS="resque")
    running.enqueue("wait", 60_000)
    running.wait_for_line("job started")
    running.signal(signal.SIGTERM)

    assert running.popen.wait(PATIENCE_S) == 0
    assert running.redis.llen("resque:queue:default") == 1


def test_pause_and_resume(start: Any) -> None:
    """USR2 pauses, CONT resumes."""
    running = start()
    running.signal(signal.SIGUSR2)
    running.wait_for_line("paused")
    running.enqueue("wait", 1)
    time.sleep(0.3)
    assert running.redis.llen("resque:queue:default") == 1
    running.signal(signal.SIGCONT)
    running.wait_for_line("job succeeded")


def test_tstp_is_quiet_for_good(start: Any) -> None:
    """CONT, which a shell sends by `fg`, doesn't end it."""
    running = start()
    running.signal(signal.SIGTSTP, signal.SIGCONT)
    running.wait_for_line("quiet")
    running.enqueue("wait", 1)
    time.sleep(0.3)
    assert running.redis.llen("resque:queue:default") == 1


def test_usr1_cancels_running_jobs_and_works_on(start: Any) -> None:
    """The job fails as cancelled; the next one runs."""
    running = start()
    running.enqueue("wait", 60_000)
    running.wait_for_line("job started")
    running.signal(signal.SIGUSR1)
    assert "JobCancelled" in running.wait_for_line("job failed")
    running.enqueue("wait", 1)
    running.wait_for_line("job succeeded")


def test_ttin_dumps_tasks_and_stacks(start: Any) -> None:
    """For a process that hangs."""
    running = start()
    running.enqueue("block", 2000)
    running.wait_for_line("blocking now")
    running.signal(signal.SIGTTIN)
    line = running.wait_for_line("tasks and stacks")

    for words in ("MultiWorker", "time.sleep", "thread MainThread", "tasks/a.py"):
        assert words in line


@pytest.mark.parametrize(
    ("environ", "limit"),
    [
        ({"RESQPY_PROCESS_MAX_JOBS": "2"}, "max_jobs"),
        ({"RESQPY_PROCESS_MAX_MEMORY": "100MB"}, "max_memory"),
        ({"INTERVAL": "0"}, "burst"),
    ],
)
def test_limits_end_a_process(start: Any, environ: dict[str, str], limit: str) -> None:
    """After so many jobs, with so much memory, or when the queues are empty."""
    running = start(**environ)
    if limit == "max_jobs":
        running.enqueue("wait", 1)
        running.enqueue("wait", 1)
    if limit == "max_memory":
        running.enqueue("grow", 0)

    assert running.popen.wait(PATIENCE_S) == 0
    assert f'"limit": "{limit}"' in running.wait_for_line("limit reached")


def test_no_job_more_than_max_jobs(start: Any, redis_url: str) -> None:
    """The next ones wait in their queue as before, in their order."""
    jobs = [json.dumps({"class": "wait", "args": [{"ms": each}]}) for each in range(9)]
    with SyncRedis.from_url(redis_url) as redis:
        redis.sadd("resque:queues", "default")
        redis.rpush("resque:queue:default", *jobs)

    running = start(RESQPY_PROCESS_MAX_JOBS="2")
    assert running.popen.wait(PATIENCE_S) == 0

    assert sum("job succeeded" in line for line in running.lines()) == 2
    assert running.redis.lrange("resque:queue:default", 0, -1) == [
        each.encode() for each in jobs[2:]
    ]


async def test_jobs_count_from_the_first_one(make_project: MakeProject, redis_url: str) -> None:
    """Also those that end before anybody waits for the end of the process."""
    jobs = [json.dumps({"class": "wait", "args": [{"ms": each}]}) for each in range(9)]
    with SyncRedis.from_url(redis_url) as redis:
        redis.sadd("resque:queues", "default")
        redis.rpush("resque:queue:default", *jobs)
        project = make_project({"process.max_jobs": 2}, tasks__a=TASKS)
        async with Process(project, worker=True) as process:
            assert process.resque.multi_worker is not None
            await until(lambda: int(redis.get("resque:stat:processed") or 0) >= 2)
            await process.resque.multi_worker.pool.idle()
            await asyncio.wait_for(process.wait(), PATIENCE_S)

        assert redis.get("resque:stat:processed") == b"2"
        assert redis.lrange("resque:queue:default", 0, -1) == [each.encode() for each in jobs[2:]]


def test_a_limit_that_is_reached_at_once_is_refused(start: Any) -> None:
    """Else a supervisor would start it again and again, without a single job done."""
    running = start(RESQPY_PROCESS_MAX_MEMORY="1MB")

    assert running.popen.wait(PATIENCE_S) == 1
    assert "before its first job" in "".join(running.lines())


def test_a_closed_terminal_lets_running_jobs_end(start: Any) -> None:
    """HUP means TERM; a worker under nohup doesn't hear it."""
    running = start()
    running.enqueue("wait", 400)
    running.wait_for_line("job started")
    running.signal(signal.SIGHUP)

    assert running.popen.wait(PATIENCE_S) == 0
    assert running.wait_for_line("job succeeded")


def test_nohup_is_respected(start: Any) -> None:
    """What was ignored when it started stays so."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        running = start()
    finally:
        signal.signal(signal.SIGHUP, before)
    running.signal(signal.SIGHUP)
    running.enqueue("wait", 1)

    assert running.wait_for_line("job succeeded")


async def test_a_function_for_the_queues_that_hangs(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process does not start, and says why."""

    async def names() -> list[str]:
        await asyncio.sleep(3600)
        return []

    monkeypatch.setattr("resqpy.framework.api.resque._QUEUES_WITHIN_S", 0.05)
    project = make_project({"tasks.queues": names}, tasks__a=TASKS)
    with pytest.raises(UsageError, match="took longer"):
        await Process(project, worker=True).start()
