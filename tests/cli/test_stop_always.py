"""Whatever a task does to its process, the process can be stopped, and no job is lost by it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path
from textwrap import dedent

import pytest
from redis.asyncio import Redis

from resqpy import Queue
from tests.cli.conftest import Program
from tests.cli.processes import lives, pids, registered
from tests.support.waiting import wait_for

TASKS = '''
    import asyncio, subprocess, threading, time
    from pathlib import Path
    from resqpy import Initializer, api, task

    def begun():
        Path("begun").write_text("x")

    @task
    async def blocks() -> None:
        """Block the event loop."""
        begun()
        time.sleep(600)

    @task
    async def spins() -> None:
        """Block the event loop, busily, and catch all that is raised."""
        begun()
        while True:
            try:
                while True:
                    pass
            except BaseException:
                pass

    @task
    async def fills() -> None:
        """Use up all threads of the loop, then wait for one more; and never hear a cancellation."""
        for _ in range(100):
            asyncio.get_running_loop().run_in_executor(None, time.sleep, 600)
        begun()
        while True:
            try:
                await asyncio.to_thread(time.sleep, 600)
            except BaseException:
                pass

    @task
    def hangs() -> None:
        """Hang in a call that can't be interrupted."""
        begun()
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()

    @task
    def shells() -> None:
        """Wait for a program."""
        child = subprocess.Popen(["sleep", "600"])
        Path("child").write_text(str(child.pid))
        begun()
        child.wait()
'''
HOOK = """
    import time
    from pathlib import Path
    from resqpy import Initializer

    class Hangs(Initializer):
        def stop(self):
            Path("hook").write_text("x")
            time.sleep(600)
"""
QUICK = ("--timeout", "1s")


@pytest.fixture
def project(root: Path) -> Path:
    """The project, with tasks that do not end."""
    (root / "tasks" / "bad.py").write_text(dedent(TASKS))
    return root


async def begun(redis_url: str, project: Path, task: str) -> None:
    """Enqueue a job and wait until it runs."""
    async with Queue(redis_url) as queue:
        await queue.enqueue("q", task, [{}])
    await wait_for((project / "begun").exists, timeout=120)


async def ended(process: subprocess.Popen[str], *signals: signal.Signals) -> int:
    """Send signals, apart from each other, until it has ended; its exit code."""
    for each in signals:
        if process.poll() is None:
            process.send_signal(each)
            await asyncio.sleep(0.4)  # what comes at once is the same request
    await wait_for(lambda: process.poll() is not None, timeout=120, message="it does not end")
    return int(process.returncode)


async def is_on_record(redis: Redis) -> bool:
    """Whether the one job is held by a worker, or waits again."""
    held = [key async for key in redis.scan_iter("resque:worker:*") if b":started" not in key]
    return len(held) + await redis.llen("resque:queue:q") == 1


@pytest.mark.parametrize(
    ("name", "task"),
    [("TERM", "blocks"), ("INT", "blocks"), ("TERM", "spins"), ("TERM", "fills"), ("INT", "hangs")],
)
async def test_the_second_signal_ends_a_worker(
    program: Program, redis: Redis, redis_url: str, project: Path, task: str, name: str
) -> None:
    """Also where its loop is blocked; the job is on record."""
    worker = program("worker")
    await registered(redis)
    await begun(redis_url, project, task)

    code = await ended(worker, *[signal.Signals[f"SIG{name}"]] * 2)

    assert code == (1 if task in {"blocks", "spins"} else 0)
    assert await is_on_record(redis)
    said = worker.stdout.read() if worker.stdout else ""
    assert ("the event loop is blocked" in said) == (code == 1)
    assert ('bad.py\\", line' in said) == (code == 1)  # where


async def test_one_signal_is_enough_in_the_end(
    program: Program, redis: Redis, redis_url: str, project: Path
) -> None:
    """A loop that is blocked beyond the time that jobs get is not waited for."""
    worker = program("worker", *QUICK)
    await registered(redis)
    await begun(redis_url, project, "blocks")

    assert await ended(worker, signal.SIGTERM) == 1
    assert await is_on_record(redis)


async def test_a_hook_that_hangs_does_not_hold_it(
    program: Program, redis: Redis, project: Path
) -> None:
    """A plain hook blocks the loop at the stop."""
    (project / "initializers").mkdir()
    (project / "initializers" / "hangs.py").write_text(dedent(HOOK))
    worker = program("worker", *QUICK)
    await registered(redis)
    worker.send_signal(signal.SIGTERM)
    await wait_for((project / "hook").exists, timeout=120)

    assert await ended(worker, signal.SIGTERM) == 1


@pytest.mark.parametrize("command", [("worker", "--processes", "2"), ("start",)])
async def test_three_signals_leave_nothing_alive(
    program: Program, redis: Redis, redis_url: str, project: Path, command: tuple[str, ...]
) -> None:
    """Neither processes nor the programs that their jobs have started."""
    supervisor = program(*command)
    found = await registered(redis, 2 if len(command) > 1 else 1)
    await begun(redis_url, project, "shells")
    (project / "begun").unlink()
    async with Queue(redis_url) as queue:
        for _ in range(len(found)):
            await queue.enqueue("q2", "blocks", [{}])
    await wait_for((project / "begun").exists, timeout=120)
    pid = int((project / "child").read_text())

    await ended(supervisor, *[signal.SIGTERM] * 3)

    await wait_for(lambda: not any(map(lives, [*map(int, found), pid])))


async def test_the_supervisor_kills_after_the_grace(
    program: Program, redis: Redis, redis_url: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One TERM is enough, also where a process does not even run (SIGSTOP)."""
    supervisor = program("worker", "--processes", "2", *QUICK, RESQPY_TASKS_CANCEL_TIMEOUT="100")
    found = await registered(redis, 2)
    os.kill(int(min(found)), signal.SIGSTOP)

    assert await ended(supervisor, signal.SIGTERM) == 0
    await wait_for(lambda: not any(map(lives, map(int, found))))


async def test_a_roll_gets_past_a_blocked_loop(
    program: Program, redis: Redis, redis_url: str, project: Path
) -> None:
    """HUP replaces all, also the one that does not hear."""
    supervisor = program("worker", "--processes", "2", *QUICK)
    first = await registered(redis, 2)
    await begun(redis_url, project, "blocks")
    supervisor.send_signal(signal.SIGHUP)

    await wait_for(lambda: not any(map(lives, map(int, first))), timeout=120)
    await wait_for(lambda: _new(redis, first), timeout=120)


async def _new(redis: Redis, old: set[str]) -> bool:
    return len(await pids(redis) - old) == 2


async def test_term_ends_it_while_it_begins(program: Program, redis: Redis, project: Path) -> None:
    """An initializer that waits for something that never comes holds nobody."""
    (project / "initializers").mkdir()
    (project / "initializers" / "waits.py").write_text(
        "import asyncio, pathlib\nfrom resqpy import Initializer\nclass Waits(Initializer):\n"
        "    async def start(self):\n        pathlib.Path('begun').write_text('x')\n"
        "        await asyncio.sleep(600)\n"
    )
    worker = program("worker")
    await wait_for((project / "begun").exists, timeout=120)

    assert await ended(worker, signal.SIGTERM) == 0
