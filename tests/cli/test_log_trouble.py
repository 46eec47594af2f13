"""A log that can't be written, or whose reader is slow, stopped or gone: work and signals go on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy import Queue
from tests.cli.processes import registered
from tests.support.waiting import wait_for

TASKS = '''
    import logging, sys
    from resqpy import api, task

    @task
    async def logs(n: int) -> int:
        """Log in all ways that there are."""
        api.log.info("by api", text="x" * 2000)
        logging.getLogger("mine").warning("by logging %s", "x" * 2000)
        print("printed", "x" * 2000, flush=True)
        sys.stderr.write("written" + "x" * 2000 + "\\n")
        return n

    @task
    def logs_in_a_thread(n: int) -> int:
        """The same in a thread."""
        print("printed", "x" * 2000, flush=True)
        api.log.info("by api", text="x" * 2000)
        return n
'''
Started = subprocess.Popen[bytes]


@pytest.fixture
def tasks(root: Path) -> None:
    """Tasks that log much."""
    (root / "tasks" / "logs.py").write_text(dedent(TASKS))


@contextmanager
def started(environ: dict[str, str], root: Path, sink: int, *arguments: str) -> Iterator[Started]:
    """A program, all of whose output goes to a descriptor."""
    process = subprocess.Popen(
        [sys.executable, "-m", "resqpy.cli", *arguments],
        cwd=root,
        env={**environ, "RESQPY_ENV": "development"},
        stdin=subprocess.DEVNULL,
        stdout=sink,
        stderr=sink,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def full_disk() -> tuple[int, Callable[[], None]]:
    """A file that takes nothing."""
    return os.open("/dev/full", os.O_WRONLY), lambda: None


def reader_gone() -> tuple[int, Callable[[], None]]:
    """A pipe whose reader ends."""
    ours, theirs = os.pipe()
    return theirs, lambda: os.close(ours)


def reader_stopped() -> tuple[int, Callable[[], None]]:
    """A pipe that nobody reads, and nobody closes; full long before the test ends."""
    _, theirs = os.pipe()
    return theirs, lambda: None


def terminal_closed() -> tuple[int, Callable[[], None]]:
    """A terminal whose window is closed; it is not the one that controls us, so there is no HUP."""
    ours, theirs = os.openpty()
    return theirs, lambda: os.close(ours)


SINKS = [full_disk, reader_gone, reader_stopped, terminal_closed]


async def work_done(url: str, redis: Redis, count: int = 60) -> None:
    """Jobs of both kinds are done, whatever the log does."""
    async with Queue(url) as queue:
        names = ("logs", "logs_in_a_thread")
        await queue.enqueue_many([("q", names[n % 2], [{"n": n}]) for n in range(count)])

    async def all_done() -> bool:
        return int(await redis.get("resque:stat:processed") or 0) == count

    await wait_for(all_done, timeout=120)
    assert await redis.llen("resque:failed") == 0


@pytest.mark.parametrize("arguments", [(), ("--processes", "2")], ids=["alone", "supervised"])
@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.usefixtures("tasks")
async def test_work_and_signals_go_on(
    redis: Redis, redis_url: str, root: Path, environ: dict[str, str],
    sink: Callable[[], tuple[int, Callable[[], None]]], arguments: tuple[str, ...],
) -> None:  # fmt: skip
    """Jobs that log and print succeed, and one TERM ends it in order."""
    number, spoil = sink()
    with started(environ, root, number, "worker", *arguments) as worker:
        os.close(number)
        await registered(redis, 2 if arguments else 1)
        spoil()
        await work_done(redis_url, redis)
        worker.send_signal(signal.SIGTERM)

        assert await ended(worker) == 0
        assert await registered(redis, 0) == set()


@pytest.mark.parametrize("command", ["scheduler", "start"])
@pytest.mark.parametrize("sink", [full_disk, reader_stopped])
async def test_other_programs_end_too(
    redis: Redis, root: Path, environ: dict[str, str],
    sink: Callable[[], tuple[int, Callable[[], None]]], command: str,
) -> None:  # fmt: skip
    """A scheduler, and the supervisor of `start`."""
    number, _ = sink()
    with started(environ, root, number, command) as program:
        os.close(number)
        await wait_for(lambda: redis.exists("resque:resqpy:leader"), timeout=120)
        program.send_signal(signal.SIGINT)

        assert await ended(program) == 0


@pytest.mark.parametrize("sink", [full_disk, reader_stopped])
@pytest.mark.usefixtures("tasks")
async def test_a_burst_ends(
    redis: Redis, redis_url: str, root: Path, environ: dict[str, str],
    sink: Callable[[], tuple[int, Callable[[], None]]],
) -> None:  # fmt: skip
    """All its jobs are done."""
    async with Queue(redis_url) as queue:
        await queue.enqueue_many([("q", "logs", [{"n": n}]) for n in range(50)])
    number, _ = sink()
    with started(environ, root, number, "worker", "--burst") as worker:
        os.close(number)

        assert await ended(worker) == 0
    assert int(await redis.get("resque:stat:processed") or 0) == 50


async def test_an_error_before_the_start_has_its_exit_code(
    environ: dict[str, str], root: Path
) -> None:
    """Although nobody can be told."""
    (root / "tasks" / "broken.py").write_text("x = 1 +\n")
    for sink in SINKS[:2]:
        number, spoil = sink()
        spoil()
        for words, code in (
            (["worker"], 3), (["worker", "--max", "no"], 2), (["task", "show", "nobody"], 3),
        ):  # fmt: skip
            with started(environ, root, number, *words) as program:
                assert await ended(program) == code
        os.close(number)


@pytest.mark.usefixtures("tasks")
async def test_what_was_lost_is_told_once_it_can_be(
    redis: Redis, redis_url: str, root: Path, environ: dict[str, str]
) -> None:
    """A reader that stands still, and goes on: one line counts what did not fit; all others are whole."""
    ours, theirs = os.pipe()
    with started(environ, root, theirs, "worker") as worker:
        os.close(theirs)
        await registered(redis)
        await work_done(redis_url, redis, 2000)  # some 14 MB
        worker.send_signal(signal.SIGTERM)
        said = b"".join(iter(partial(os.read, ours, 1 << 16), b"")).decode()
        assert await ended(worker) == 0

    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    told: list[Any] = [line["count"] for line in lines if "were lost" in line["event"]]
    assert sum(told) + len(said.splitlines()) - len(told) >= 2000 * 4
    assert len(told) >= 1
    assert "process ended" in [line["event"] for line in lines]


async def ended(process: Started) -> int:
    """Its exit code."""
    await wait_for(lambda: process.poll() is not None, timeout=120, message="it does not end")
    return process.returncode


@pytest.mark.usefixtures("tasks")
async def test_closed_streams_are_no_trouble(
    redis: Redis, redis_url: str, root: Path, environ: dict[str, str]
) -> None:
    """`resqpy worker <&- >&- 2>&-`, as some service managers start programs."""
    process = _closed(environ, root)
    try:
        await registered(redis)
        await work_done(redis_url, redis)
        standard = _standard_files(process.pid)
        process.send_signal(signal.SIGTERM)

        assert await ended(process) == 0
        assert standard == [os.devnull] * 3
    finally:
        process.kill()
        process.wait()


def _closed(environ: dict[str, str], root: Path) -> Started:
    command = f'exec "{sys.executable}" -m resqpy.cli worker <&- >&- 2>&-'
    env = {**environ, "RESQPY_ENV": "development"}
    return subprocess.Popen(["sh", "-c", command], cwd=root, env=env)


def _standard_files(pid: int) -> list[str]:
    return [str(Path(f"/proc/{pid}/fd/{number}").readlink()) for number in range(3)]
