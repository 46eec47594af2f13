"""`resqpy worker`, `scheduler` and `start`, as programs."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from textwrap import dedent
from typing import cast

import pytest
from redis.asyncio import Redis

from resqpy import Queue
from resqpy.base.model import WorkerId
from resqpy.cli.exits import Exit
from tests.cli.conftest import Call, Program
from tests.support.waiting import wait_for


def ended(process: subprocess.Popen[str], timeout: float = 15) -> tuple[int, str]:
    """Wait for its end: exit code and what it printed."""
    output, _ = process.communicate(timeout=timeout)
    return process.returncode, output


async def registered(redis: Redis, count: int = 1) -> set[str]:
    """Wait until so many processes have workers: their pids."""

    async def counted() -> list[set[str]]:
        found = await pids(redis)
        return [found] if len(found) == count else []

    return (await wait_for(counted, timeout=15))[0]


async def pids(redis: Redis) -> set[str]:
    """The processes that have workers."""
    members = await redis.smembers("resque:workers")
    return {WorkerId.parse(cast(bytes, each).decode()).pid for each in members}


async def test_it_works_without_any_option(program: Program, redis: Redis, redis_url: str) -> None:
    """It takes jobs from all queues although the config's defaults say 0 processors; TERM ends it."""
    async with Queue(redis_url) as queue:
        await queue.enqueue("anything", "sendMail", [{"to": "ada@example.com"}])

    worker = program("worker")
    await wait_for(lambda: redis.get("resque:stat:processed"), timeout=15)
    worker.send_signal(signal.SIGTERM)
    code, output = ended(worker)

    assert code == 0
    assert "mail to ada@example.com" in output
    assert await redis.smembers("resque:workers") == set()


async def test_burst_ends_when_the_queues_are_empty(
    program: Program, redis: Redis, redis_url: str
) -> None:
    """`--burst`, and Resque's INTERVAL=0, do what waits and end with 0."""
    async with Queue(redis_url) as queue:
        await queue.enqueue_many([("q", "sendMail", [{"to": f"{n}@x"}]) for n in range(20)])

    code, _ = ended(program("worker", "--burst"))
    again, _ = ended(program("worker", INTERVAL="0"))

    assert (code, again) == (0, 0)
    assert await redis.get("resque:stat:processed") == b"20"


async def test_a_stuck_thread_does_not_hold_it(
    program: Program, redis: Redis, redis_url: str, root: Path
) -> None:
    """A plain task that never returns is put back at a stop, and the process ends all the same."""
    (root / "tasks" / "stuck.py").write_text(
        dedent('''
            import time
            from resqpy import task

            @task()
            def stuck() -> None:
                """Never return."""
                print("stuck now", flush=True)
                time.sleep(600)
        ''')
    )
    async with Queue(redis_url) as queue:
        await queue.enqueue("q", "stuck", [{}])

    worker = program("worker", "--timeout", "100ms", RESQPY_TASKS_CANCEL_TIMEOUT="100")
    await wait_for(lambda: _is_taken(redis), timeout=15)
    worker.send_signal(signal.SIGTERM)
    code, _ = ended(worker)

    assert code == 0
    assert await redis.llen("resque:queue:q") == 1


async def _is_taken(redis: Redis) -> bool:
    return bool(await redis.exists("resque:queues")) and await redis.llen("resque:queue:q") == 0


async def test_a_pid_file_is_held_by_one(program: Program, redis: Redis, root: Path) -> None:
    """A second process is refused with 7; the file goes with the first one."""
    path = root / "worker.pid"
    first = program("worker", "--pidfile", str(path))
    await registered(redis)

    code, output = ended(program("worker", PIDFILE=str(path)))
    pid = path.read_text().strip()
    first.send_signal(signal.SIGINT)

    assert pid == str(first.pid)
    assert (code, f"runs already: process {pid}" in output) == (Exit.RUNNING, True)
    assert ended(first)[0] == 0


async def test_a_daemon_leaves_the_terminal(program: Program, redis: Redis, root: Path) -> None:
    """The command ends at once with 0, the worker goes on in a session of its own."""
    path = root / "worker.pid"

    code, output = ended(program("worker", "--daemon", "--pidfile", str(path)))
    [pid] = await registered(redis)
    session = os.getsid(int(pid))
    os.kill(int(pid), signal.SIGTERM)
    await registered(redis, 0)

    assert (code, f"kill {pid}" in output) == (0, True)
    assert session == int(pid)


async def test_processes_are_supervised(program: Program, redis: Redis) -> None:
    """Who dies is replaced; HUP replaces all; TERM to the supervisor ends all in order."""
    supervisor = program("worker", "--processes", "2")
    first = await registered(redis, 2)

    killed = min(first)
    os.kill(int(killed), signal.SIGKILL)
    second = await wait_for(lambda: _two_others(redis, {killed}), timeout=15)
    supervisor.send_signal(signal.SIGHUP)
    third = await wait_for(lambda: _two_others(redis, first | second), timeout=15)
    supervisor.send_signal(signal.SIGTERM)
    code, output = ended(supervisor)

    assert len(third) == 2
    assert code == 0
    assert "process died" in output


async def _two_others(redis: Redis, old: set[str]) -> set[str]:
    """The pids of two live processes that are none of the old ones."""
    found = await pids(redis) - old
    return found if len(found) == 2 else set()


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


async def test_start_reloads_on_change(
    program: Program, redis: Redis, redis_url: str, root: Path
) -> None:
    """A changed task counts at once; one that is broken is told, and mended without a new start."""
    log = root.parent / "log"
    running = program("start", "--logfile", str(log))
    [first] = await registered(redis)
    file = root / "tasks" / "mail.py"
    text = file.read_text()

    file.write_text("x = 1 +\n")
    await wait_for(lambda: "mend the project" in log.read_text(), timeout=15)
    file.write_text(text.replace("mail to", "letter to"))
    [second] = await registered(redis)
    async with Queue(redis_url) as queue:
        await queue.enqueue("q", "sendMail", [{"to": "ada@example.com"}])
    await wait_for(lambda: redis.get("resque:stat:processed"), timeout=15)
    leader = await redis.get("resque:resqpy:leader")
    running.send_signal(signal.SIGINT)
    code, output = ended(running)

    assert first != second
    assert leader is not None
    assert code == 0
    assert "SyntaxError" in output
    assert "letter to ada@example.com" in output


async def test_a_scheduler_works_no_jobs(program: Program, redis: Redis) -> None:
    """`resqpy scheduler` leads, and registers no worker."""
    scheduler = program("scheduler")
    await wait_for(lambda: redis.get("resque:resqpy:leader"), timeout=15)

    workers = await redis.scard("resque:workers")
    scheduler.send_signal(signal.SIGTERM)

    assert workers == 0
    assert ended(scheduler)[0] == 0


async def test_a_project_without_tasks_is_refused(program: Program, root: Path) -> None:
    """A worker without tasks would fail every job as unknown."""
    (root / "tasks" / "mail.py").unlink()

    code, output = ended(program("worker"))

    assert (code, "there is no task in" in output) == (Exit.USAGE, True)


async def test_healthcheck_knows_a_live_worker(
    program: Program, redis: Redis, environ: dict[str, str]
) -> None:
    """0 while a worker lives on this host and a scheduler leads, 6 before."""
    before, _ = ended(program("healthcheck", "--worker", "--scheduler"))
    program("worker", "--scheduler")
    await registered(redis)
    await wait_for(lambda: redis.get("resque:resqpy:leader"), timeout=15)

    after, output = ended(program("healthcheck", "--worker", "--scheduler"))

    assert (before, after) == (Exit.NO, Exit.OK)
    assert "a worker lives on this host" in output


@pytest.mark.parametrize("arguments", [["--json"], []])
def test_versions(resqpy: Call, arguments: list[str]) -> None:
    """Of resqpy, Python and the Redis client."""
    assert "resqpy" in resqpy("version", *arguments).out
