"""`--pidfile` and `--daemon`."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from redis.asyncio import Redis

from resqpy.cli.output.printing import Exit
from tests.cli.conftest import Program
from tests.cli.processes import ended, registered


async def test_a_pid_file_is_held_by_one(program: Program, redis: Redis, root: Path) -> None:
    """A second process is refused with 7; the file goes with the first one."""
    path = root / "worker.pid"
    first = program("worker", "--pidfile", str(path))
    await registered(redis)

    code, output = ended(program("worker", PIDFILE=str(path)))
    pid = path.read_text().strip()
    first.send_signal(signal.SIGINT)

    assert pid == str(first.pid)
    assert (code, f"already running: process {pid}" in output) == (Exit.RUNNING, True)
    assert ended(first)[0] == 0
    assert not path.exists()


async def test_a_stale_pid_file_is_taken_over(program: Program, redis: Redis, root: Path) -> None:
    """What a killed process left stops nobody, whose number it may be by now; also with processes."""
    path = root / "worker.pid"
    path.write_text(f"{os.getpid()}\n")
    supervisor = program("worker", "--processes", "2", "--pidfile", str(path))
    await registered(redis, 2)

    assert path.read_text() == f"{supervisor.pid}\n"
    supervisor.kill()
    supervisor.wait()
    assert path.exists()
    await registered(redis, 0)
    code, _ = ended(program("worker", "--burst", "--pidfile", str(path)))
    assert (code, path.exists()) == (0, False)


def test_a_daemon_that_cant_write_its_log_says_so(program: Program) -> None:
    """To who started it, with an exit code."""
    code, output = ended(program("worker", "--daemon", "--logfile", "/dev/null/x"))

    assert (code, "cannot write the log file" in output) == (Exit.USAGE, True)


async def test_a_daemon_leaves_the_terminal(program: Program, redis: Redis, root: Path) -> None:
    """The command ends at once with 0, the worker goes on in a session of its own, and logs to a file."""
    path, log = root / "worker.pid", root / "log"
    arguments = ("worker", "--daemon", "--pidfile", str(path), "--logfile", str(log))

    code, output = ended(program(*arguments))
    [pid] = await registered(redis)
    session = os.getsid(int(pid))
    again, refused = ended(program(*arguments))
    os.kill(int(pid), signal.SIGTERM)
    await registered(redis, 0)

    assert (code, f"kill {pid}" in output) == (0, True)
    assert session == int(pid)
    assert (again, "already running" in refused) == (Exit.RUNNING, True)
    assert '"event": "process started"' in log.read_text()


async def test_a_daemon_may_be_a_supervisor(program: Program, redis: Redis, root: Path) -> None:
    """The pid file has the number of who takes signals."""
    path = root / "worker.pid"

    code, _ = ended(program("worker", "--processes", "2", "--daemon", "--pidfile", str(path)))
    workers = await registered(redis, 2)
    pid = path.read_text().strip()
    os.kill(int(pid), signal.SIGTERM)
    await registered(redis, 0)

    assert code == 0
    assert pid not in workers
