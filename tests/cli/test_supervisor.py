"""`resqpy worker --processes N`: what its signals do, and what happens when processes die."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy import Queue
from resqpy.cli.output.printing import Exit
from resqpy.cli.processes.supervisor import Grace
from resqpy.framework.config.sections import TasksConfig
from tests.cli.conftest import Program
from tests.cli.processes import ended, pids, registered
from tests.support.ports import free_port
from tests.support.probes import get
from tests.support.waiting import wait_for

TASK = '''
    import asyncio
    from resqpy import task

    @task()
    async def wait(ms: int) -> None:
        """Wait."""
        await asyncio.sleep(ms / 1000)
'''


@pytest.fixture
def log(root: Path) -> Path:
    """Where they write; the project has a task that waits."""
    (root / "tasks" / "waiting.py").write_text(dedent(TASK))
    return root.parent / "log"


@pytest.fixture
async def queue(redis_url: str) -> AsyncIterator[Queue]:
    """Enqueues."""
    async with Queue(redis_url) as queue:
        yield queue


def logged(log: Path) -> str:
    """What they have logged."""
    return log.read_text()


async def in_log(log: Path, words: str, count: int = 1) -> None:
    """Wait until the log has these words so often."""
    await wait_for(lambda: logged(log).count(words) >= count, timeout=120)


async def running(redis: Redis, count: int) -> None:
    """Wait until so many jobs run."""

    async def all_run() -> bool:
        keys = [key async for key in redis.scan_iter("resque:worker:*")]
        return sum(not key.endswith(b":started") for key in keys) >= count

    await wait_for(all_run, timeout=120)


async def processed(redis: Redis, count: int) -> None:
    """Wait until so many jobs have ended well."""

    async def enough() -> bool:
        return int(await redis.get("resque:stat:processed") or 0) >= count

    await wait_for(enough, timeout=120)


async def test_processes_are_supervised(program: Program, redis: Redis) -> None:
    """Who dies is replaced; TERM to the supervisor ends all in order; each line says which one it is."""
    port = free_port(2)
    supervisor = program("worker", "--processes", "2", "--health-port", str(port))
    first = await registered(redis, 2)
    probed = [str((await get(each, "/live"))[1]["pid"]) for each in (port, port + 1)]

    killed = min(first)
    os.kill(int(killed), signal.SIGKILL)
    second = await wait_for(lambda: _two_others(redis, {killed}), timeout=120)
    supervisor.send_signal(signal.SIGTERM)
    code, output = ended(supervisor)

    assert set(probed) == first
    assert len(second - first) == 1
    assert code == 0
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    [died] = [line for line in lines if line["event"] == "process died"]
    assert died["process"] in {1, 2}
    assert (died["code"], died["signal"].split()[0]) == (-9, "KILL")
    assert {line["process"] for line in lines if line["event"] == "process ended"} == {1, 2}


async def _two_others(redis: Redis, old: set[str]) -> set[str]:
    """The pids of two live processes that are none of the old ones."""
    found = await pids(redis) - old
    return found if len(found) == 2 else set()


def test_how_long_processes_get_to_stop() -> None:
    """As the page on processes says."""
    assert Grace.of(TasksConfig()) == Grace(in_order=42, now=24)


async def test_children_end_when_their_supervisor_is_killed(program: Program, redis: Redis) -> None:
    """`kill -9` of the supervisor leaves no process behind."""
    supervisor = program("worker", "--processes", "2")
    await registered(redis, 2)

    supervisor.kill()

    assert await registered(redis, 0) == set()


async def test_a_wrong_project_ends_the_supervisor(program: Program, root: Path) -> None:
    """Children that can't ever start are not started again and again."""
    (root / "tasks" / "broken.py").write_text("x = 1 +\n")

    code, output = ended(program("worker", "--processes", "2"))

    assert code == Exit.PROJECT
    assert "SyntaxError" in output


@pytest.mark.parametrize(
    ("signals", "done"),
    [
        ([signal.SIGTERM], True),
        pytest.param([signal.SIGINT], True, marks=pytest.mark.full),
        ([signal.SIGTERM, signal.SIGTERM], False),  # again: now
        ([signal.SIGQUIT], True),  # also longer than stop_timeout
    ],
)
async def test_a_stop_reaches_all(
    program: Program, redis: Redis, queue: Queue, log: Path,
    signals: list[signal.Signals], done: bool,
) -> None:  # fmt: skip
    """Their running jobs get the time that the signal means; no process is left."""
    timeout = "1ms" if signal.SIGQUIT in signals else "25s"
    supervisor = program(
        "worker", "--processes", "2", "--max", "1", "-t", timeout, "--logfile", str(log)
    )
    await registered(redis, 2)
    await queue.enqueue_many([("q", "wait", [{"ms": 800 if done else 60_000}])] * 2)
    await running(redis, 2)
    for each in signals:
        supervisor.send_signal(each)
        await asyncio.sleep(0.35)  # one that comes at once is the same request

    assert ended(supervisor)[0] == 0
    assert await pids(redis) == set()
    assert int(await redis.get("resque:stat:processed") or 0) == (2 if done else 0)
    assert await redis.llen("resque:queue:q") == (0 if done else 2)


async def test_other_signals_reach_all(
    program: Program, redis: Redis, queue: Queue, log: Path
) -> None:
    """USR2 and CONT pause and resume, USR1 cancels, TTIN dumps, TSTP takes no more jobs."""
    supervisor = program("worker", "--processes", "2", "--max", "1", "--logfile", str(log))
    await registered(redis, 2)

    supervisor.send_signal(signal.SIGUSR2)
    await in_log(log, "paused; CONT resumes", 2)
    await queue.enqueue_many([("q", "wait", [{"ms": 60_000}])] * 2)
    assert await redis.llen("resque:queue:q") == 2
    supervisor.send_signal(signal.SIGCONT)
    await running(redis, 2)
    supervisor.send_signal(signal.SIGTTIN)
    await in_log(log, "tasks and stacks", 2)
    supervisor.send_signal(signal.SIGUSR1)
    await in_log(log, "JobCancelled", 2)
    supervisor.send_signal(signal.SIGTSTP)
    await in_log(log, "no more jobs are taken", 2)
    await queue.enqueue("q", "wait", [{"ms": 1}])
    await asyncio.sleep(0.2)

    assert await redis.llen("resque:queue:q") == 1
    assert len(await pids(redis)) == 2


async def test_a_rolling_restart_loses_nothing(
    program: Program, redis: Redis, queue: Queue, log: Path
) -> None:
    """HUP replaces one process after the other: the others work on, and each job ends once."""
    supervisor = program("worker", "--processes", "2", "--max", "2", "--logfile", str(log))
    first = await registered(redis, 2)
    await queue.enqueue_many([("q", "wait", [{"ms": 100}])] * 40)
    await running(redis, 2)
    supervisor.send_signal(signal.SIGHUP)
    fewest = 2

    async def all_are_new() -> bool:
        nonlocal fewest
        now = await pids(redis)
        fewest = min(fewest, len(now))
        return len(now - first) == 2

    await wait_for(all_are_new, timeout=120)
    await processed(redis, 40)

    assert fewest >= 1
    assert int(await redis.get("resque:stat:processed") or 0) == 40
    assert await redis.llen("resque:failed") == 0
    await wait_for(lambda: logged(log).count("process started") == 4)


async def test_a_broken_deploy_stops_nobody(
    program: Program, redis: Redis, log: Path, root: Path
) -> None:
    """HUP with a project that can't be loaded leaves all at work; once it is mended, all are replaced."""
    supervisor = program("worker", "--processes", "2", "--logfile", str(log))
    first = await registered(redis, 2)
    broken = root / "tasks" / "broken.py"
    broken.write_text("x = 1 +\n")
    supervisor.send_signal(signal.SIGHUP)
    await in_log(log, "the old process continues")
    left = await pids(redis)
    broken.unlink()
    supervisor.send_signal(signal.SIGHUP)
    second = await wait_for(lambda: _two_others(redis, first), timeout=120)

    assert left == first
    assert second.isdisjoint(first)
    await in_log(log, "process started", 4)
    assert "process died" not in logged(log)


@pytest.mark.full
async def test_who_dies_again_is_started_later(program: Program, redis: Redis, log: Path) -> None:
    """After half a second, then after one, and so on up to half a minute; it never gives up."""
    program("worker", "--processes", "2", "--logfile", str(log))
    dead: set[str] = set()
    for pause in ("0.5", "1.0"):
        living = await wait_for(partial(_two_others, redis, dead), timeout=120)
        newest = max(living, key=int)
        os.kill(int(newest), signal.SIGKILL)
        dead.add(newest)
        await in_log(log, f'"again_in_s": {pause}')
    await wait_for(partial(_two_others, redis, dead), timeout=120)


@pytest.mark.full
async def test_limits_hold_for_each_process(
    program: Program, redis: Redis, queue: Queue, log: Path
) -> None:
    """`--max-jobs` replaces a process at once; `--burst` ends all when the queues are empty."""
    await queue.enqueue_many([("q", "wait", [{"ms": 1}])] * 6)
    arguments = ("--processes", "2", "--max", "1", "--max-jobs", "2", "--logfile", str(log))
    supervisor = program("worker", *arguments)
    await processed(redis, 6)
    supervisor.send_signal(signal.SIGTERM)
    assert ended(supervisor)[0] == 0
    assert '"limit": "max_jobs"' in logged(log)
    assert "process died" not in logged(log)

    await queue.enqueue_many([("q", "wait", [{"ms": 1}])] * 6)
    assert ended(program("worker", "--processes", "2", "--burst"))[0] == 0
    assert int(await redis.get("resque:stat:processed") or 0) == 12


@pytest.mark.parametrize(
    "arguments", [(), pytest.param(("--processes", "2"), marks=pytest.mark.full)]
)
async def test_a_closed_terminal_ends_it(
    redis: Redis, root: Path, environ: dict[str, str], log: Path, arguments: tuple[str, ...]
) -> None:
    """Closing the window stops workers in order, also those under a supervisor."""
    with _on_a_terminal(
        [sys.executable, "-m", "resqpy.cli", "worker", *arguments, "--logfile", str(log)],
        cwd=root, env=environ | {"RESQPY_ENV": "development"},
    ) as (ours, process):  # fmt: skip
        await registered(redis, 2 if arguments else 1)
        os.close(ours)

        assert await asyncio.to_thread(process.wait, 15) == 0
    assert await registered(redis, 0) == set()
    assert "stopping (send the signal again to stop immediately)" in logged(log)


@contextmanager
def _on_a_terminal(
    command: list[str], **more: Any
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Start a program as the leader of a session on a terminal of its own, whose other end we have."""
    ours, theirs = os.openpty()
    login = partial(os.login_tty, theirs)
    process = subprocess.Popen(command, preexec_fn=login, **more)  # noqa: PLW1509 - it only makes system calls
    os.close(theirs)
    try:
        yield ours, process
    finally:
        process.kill()
        process.wait()


POOL = """
"high,low": 3
mail: 1
none: 0
{section}:
  mail: 2
elsewhere:
  other: 9
"""


async def test_groups_of_queues(program: Program, redis: Redis, root: Path, environ: Any) -> None:
    """A process for each group of a resque-pool.yml, with so many task processors; it is replaced as that."""
    section = environ.get("RESQPY_ENV", "development")
    (root / "config").mkdir(exist_ok=True)
    (root / "config" / "resque-pool.yml").write_text(POOL.format(section=section))
    supervisor = program("worker", "--pool", "config/resque-pool.yml")

    async def groups() -> list[str]:
        names = map(str, await redis.smembers("resque:workers"))
        return sorted(each.rstrip("'").rpartition(":")[2] for each in names)

    wanted = ["high,low"] * 3 + ["mail"] * 2

    async def are_there() -> bool:
        return await groups() == wanted

    await wait_for(are_there, timeout=120)
    first = await pids(redis)
    os.kill(int(min(first)), signal.SIGKILL)
    await wait_for(lambda: _another(redis, first), timeout=120)
    supervisor.send_signal(signal.SIGTERM)
    code, _ = ended(supervisor)

    assert (code, len(first)) == (0, 2)


async def _another(redis: Redis, old: set[str]) -> bool:
    return bool(await pids(redis) - old)


@pytest.mark.parametrize(
    ("text", "more", "why"),
    [
        ("mail: two", [], "group 'mail': 'two' is not how many jobs"),
        ("mail: 1\nmail: 2", [], "'mail' stands twice"),
        ("staging:\n  mail: 1", [], "it has sections for staging"),
        ("mail: <%= 2 %>", [], "ERB template"),
        ("", [], "has no groups of queues"),
        ("development:\n  mail: 0", [], "it has sections for development\n"),
        ("'': 2", [], "group '': it names no queue"),
        ("' , ': 2", [], "names no queue"),
        ("mail: 2001-99-99", [], "can't be read"),
        ("mail: 1", ["--queues", "x"], "--queues and --pool can't be combined"),
        ("mail: 1", ["--processes", "2"], "--processes and --pool can't be combined"),
        (None, [], "can't be read"),
    ],
)
def test_what_is_no_file_of_groups(
    program: Program, root: Path, text: str | None, more: list[str], why: str
) -> None:
    """Nothing is started."""
    if text is not None:
        (root / "pool.yml").write_text(text)
    code, output = ended(program("worker", "--pool", "pool.yml", *more))

    assert (code, why in output) == (Exit.USAGE, True)
