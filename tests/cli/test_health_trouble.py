"""The port of probes, as a user of the command line meets it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
from pathlib import Path

import pytest
from redis.asyncio import Redis

from resqpy import Queue
from resqpy.cli.output.printing import Exit
from tests.cli.conftest import Program
from tests.cli.processes import ended, registered
from tests.support.ports import free_port
from tests.support.probes import get
from tests.support.waiting import wait_for


@pytest.mark.parametrize(
    "command", [("worker",), ("scheduler",), ("start",), ("worker", "--processes", "2")]
)
async def test_a_used_port_ends_it_with_the_remedy(
    program: Program, command: tuple[str, ...]
) -> None:
    """Nothing hangs, and nobody is sent to mend the project."""
    port = free_port(2)
    with socket.create_server(("127.0.0.1", port)):
        running = program(*command, "--health-port", str(port))
        code, output = await asyncio.to_thread(ended, running, 60)

    assert code == Exit.USAGE
    assert f"cannot listen on port {port}" in output
    assert "--health-port" in output
    assert "fix the project" not in output


async def test_a_used_port_of_one_process_ends_all(
    program: Program, redis: Redis, root: Path
) -> None:
    """Also where another one is at work already: that process could never start."""
    port = free_port(2)
    with socket.create_server(("127.0.0.1", port)):
        (root / "tasks" / "late.py").write_text(
            "import os, redis, time\n"
            f"if os.environ.get('RESQPY_PROCESS_HEALTH_PORT') == '{port}':\n"
            "    client = redis.Redis.from_url(os.environ['REDIS_URL'])\n"
            "    while not client.exists('resque:workers'):\n"
            "        time.sleep(0.01)\n"
            "    time.sleep(1)\n"
        )
        running = program("worker", "--processes", "2", "--health-port", str(port))
        code, output = await asyncio.to_thread(ended, running, 60)

    assert code == Exit.USAGE
    assert f"cannot listen on port {port}" in output
    assert await registered(redis, 0) == set()


async def test_a_connection_that_stays_open_spoils_no_end(program: Program, redis: Redis) -> None:
    """One that says nothing, one in the middle of its request: the end is as without them."""
    port = free_port()
    worker = program("worker", "--health-port", str(port))
    await registered(redis)
    with (
        socket.create_connection(("127.0.0.1", port)),
        socket.create_connection(("127.0.0.1", port)) as half,
    ):
        half.sendall(b"GET /live HT")
        assert (await get(port, "/live"))[0] == 200  # so both are seen
        worker.send_signal(signal.SIGTERM)
        code, output = await asyncio.to_thread(ended, worker)

    assert code == 0
    assert [json.loads(each)["event"] for each in output.splitlines()][-1] == "process ended"


async def test_a_flood_does_not_stop_the_work(
    program: Program, redis: Redis, redis_url: str, root: Path
) -> None:
    """With few descriptors, and hundreds of connections that come and stay."""
    port = free_port()
    (root / "tasks" / "few.py").write_text(
        "import resource\nfrom resqpy import task\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (48, 48))\n"
        "@task\nasync def few(n: int):\n    'Open a file.'\n    open(__file__).close()\n"
    )
    worker = program("worker", "--health-port", str(port))
    await registered(redis)
    held = []
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            one = stack.enter_context(socket.socket())
            one.settimeout(0)
            with contextlib.suppress(BlockingIOError):
                one.connect(("127.0.0.1", port))
            held.append(one)
        async with Queue(redis_url) as queue:
            await queue.enqueue_many([("q", "few", [{"n": n}]) for n in range(50)])

        async def all_done() -> bool:
            return int(await redis.get("resque:stat:processed") or 0) == 50

        await wait_for(all_done, timeout=120)
        worker.send_signal(signal.SIGTERM)
        code, output = await asyncio.to_thread(ended, worker)

    assert code == 0
    assert await redis.llen("resque:failed") == 0
    assert [json.loads(each)["event"] for each in output.splitlines()][-1] == "process ended"
