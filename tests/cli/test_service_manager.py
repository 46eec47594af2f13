"""What systemd hears of a service of `Type=notify`, at a datagram socket like its own."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from redis.asyncio import Redis

from resqpy import Queue
from resqpy.cli.processes.supervisor import ServiceManager
from tests.cli.conftest import Program
from tests.cli.processes import ended, registered
from tests.support.waiting import wait_for

BLOCKING = '''
    import time
    from resqpy import task

    @task
    async def hang():
        """Let nothing else run."""
        time.sleep(1.5)
'''


@pytest.fixture
def heard() -> Iterator[socket.socket]:
    """The service manager's end, in a folder whose name is short enough."""
    with (
        tempfile.TemporaryDirectory() as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end,
    ):
        end.bind(str(Path(folder) / "notify"))
        end.settimeout(0)
        yield end


async def _next(end: socket.socket) -> str:
    async with asyncio.timeout(30):
        return (await asyncio.get_running_loop().sock_recv(end, 100)).decode()


async def test_a_worker_tells_its_life(
    heard: socket.socket, program: Program, redis: Redis
) -> None:
    """Ready when it works, stopping when it was told to, and signs of life all the time."""
    worker = program("worker", NOTIFY_SOCKET=heard.getsockname(), WATCHDOG_USEC="200000")
    said: list[str] = []
    while "READY=1" not in said:
        said.append(await _next(heard))
    assert len(await registered(redis)) == 1
    assert [await _next(heard) for _ in range(3)] == ["WATCHDOG=1"] * 3
    worker.send_signal(signal.SIGTERM)
    while "STOPPING=1" not in said:
        said.append(await _next(heard))

    assert (await asyncio.to_thread(ended, worker))[0] == 0
    assert set(said) == {"WATCHDOG=1", "READY=1", "STOPPING=1"}


async def test_a_loop_that_hangs_gives_no_sign_of_life(
    heard: socket.socket, program: Program, root: Path, redis_url: str
) -> None:
    """Though its heartbeat, in a thread, goes on: systemd is to start it anew."""
    (root / "tasks" / "blocking.py").write_text(dedent(BLOCKING))
    program("worker", NOTIFY_SOCKET=heard.getsockname(), WATCHDOG_USEC="100000")
    loop = asyncio.get_running_loop()
    while await _next(heard) != "READY=1":
        pass
    async with Queue(redis_url) as queue:
        await queue.enqueue("default", "hang", [{}])

    async def silent() -> bool:
        before = loop.time()
        await _next(heard)
        return loop.time() - before > 1

    await wait_for(silent, timeout=100)
    assert await _next(heard) == "WATCHDOG=1"


async def test_a_supervisor_speaks_for_its_processes(
    heard: socket.socket, program: Program, redis: Redis
) -> None:
    """Once, when all of them work; they say nothing themselves."""
    parent = program("worker", "--processes", "2", NOTIFY_SOCKET=heard.getsockname())
    assert await _next(heard) == "READY=1"
    assert len(await registered(redis, 2)) == 2
    parent.send_signal(signal.SIGTERM)
    assert await _next(heard) == "STOPPING=1"
    assert (await asyncio.to_thread(ended, parent))[0] == 0
    with pytest.raises(BlockingIOError):
        heard.recv(100)


async def test_an_abstract_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """It begins with @; who is started by us does not inherit it."""
    name = f"resqpy-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(f"\0{name}")
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        ServiceManager().ready()
        assert end.recv(100) == b"READY=1"
    assert "NOTIFY_SOCKET" not in os.environ


async def test_a_watchdog_of_another_process_is_not_ours(
    heard: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for the one that it names."""
    monkeypatch.setenv("NOTIFY_SOCKET", heard.getsockname())
    monkeypatch.setenv("WATCHDOG_USEC", "1000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    manager = ServiceManager()
    await asyncio.sleep(0.02)
    manager.close()
    with pytest.raises(BlockingIOError):
        heard.recv(100)


async def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """A manager that is gone harms no worker."""
    monkeypatch.setenv("NOTIFY_SOCKET", "/nonexistent/notify")
    manager = ServiceManager()
    manager.ready()
    manager.stopping()
    manager.close()
