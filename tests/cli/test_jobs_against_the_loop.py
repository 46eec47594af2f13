"""Jobs that end what they share with the worker, its tasks or its loop, in a program of workers."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from redis.asyncio import Redis

from resqpy import Queue
from tests.cli.conftest import Program
from tests.cli.processes import ended
from tests.support.waiting import wait_for

TASKS = '''
import asyncio
import os
import signal
import socket
import sys
from pathlib import Path
from resqpy import task


@task
async def cancels_all():
    """Cancel all tasks."""
    for each in asyncio.all_tasks():
        each.cancel()
    await asyncio.sleep(0)


@task
async def stops():
    """Stop the loop."""
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0.01)


@task
async def child_exits():
    """Leave in a task of its own."""
    async def child():
        sys.exit(3)
    asyncio.create_task(child())
    await asyncio.sleep(0.01)


@task
async def child_interrupts():
    """Raise KeyboardInterrupt in a task of its own."""
    async def child():
        raise KeyboardInterrupt
    asyncio.create_task(child())
    await asyncio.sleep(0.01)


@task
async def callback_exits():
    """Leave in a callback."""
    asyncio.get_running_loop().call_soon(sys.exit, 4)
    await asyncio.sleep(0.01)


async def put_back(replace):
    """Replace the handler of TERM, and wait until the worker has put its own back."""
    own = signal.getsignal(signal.SIGTERM)
    replace()
    while signal.getsignal(signal.SIGTERM) != own:
        await asyncio.sleep(0.01)


@task
async def handles_term():
    """Handle TERM on the loop, as libraries that start browsers do."""
    loop = asyncio.get_running_loop()
    await put_back(lambda: loop.add_signal_handler(signal.SIGTERM, lambda: None))


@task
async def ignores_term():
    """Ignore TERM."""
    await put_back(lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN))


@task
async def takes_the_wakeup():
    """Take the descriptor to which the numbers of signals are written."""
    signal.set_wakeup_fd(-1)


@task
async def handles_alarm():
    """Handle a signal of its own on the loop: twice, the second time beside one that is the worker's."""
    rang = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGALRM, rang.set)
    for between in (signal.SIGALRM, signal.SIGCONT):
        rang.clear()
        os.kill(os.getpid(), between)
        os.kill(os.getpid(), signal.SIGALRM)
        await rang.wait()


PAIRS = []


@task
async def closes_output():
    """Close standard output and error, whose numbers connections get."""
    os.close(1)
    os.close(2)
    PAIRS.append(socket.socketpair())
    assert {each.fileno() for each in PAIRS[0]} == {1, 2}


@task
async def fine():
    """Do nothing."""


@task
async def stubborn():
    """Never end."""
    Path(__file__).with_name("begun.txt").touch()
    while True:
        try:
            await asyncio.sleep(0.3)
        except BaseException:
            continue
'''
BAD = ["cancels_all", "stops", "child_exits", "child_interrupts", "callback_exits", "closes_output"]
SIGNALS = ["handles_term", "ignores_term", "takes_the_wakeup", "handles_alarm"]


@pytest.mark.parametrize("bad", BAD + SIGNALS)
async def test_the_worker_goes_on(
    program: Program, redis: Redis, redis_url: str, root: Path, bad: str
) -> None:
    """It works the next job, and ends by TERM, with 0."""
    (root / "tasks" / "against.py").write_text(TASKS)
    async with Queue(redis_url) as queue:
        await queue.enqueue("q", bad, [{}])
        worker = program("worker")
        await wait_for(lambda: _ended(redis, 1), timeout=100)
        await queue.enqueue("q", "fine", [{}])
        await wait_for(lambda: _ended(redis, 2), timeout=100)
    worker.send_signal(signal.SIGTERM)
    code, output = ended(worker)
    assert code == 0, output
    assert await redis.smembers("resque:workers") == set()
    assert '"task": "fine"' in output


async def test_a_coroutine_that_never_ends_holds_no_program(
    program: Program, redis: Redis, redis_url: str, root: Path
) -> None:
    """It is cut off at the stop, its job goes back, and the program ends."""
    (root / "tasks" / "against.py").write_text(TASKS)
    async with Queue(redis_url) as queue:
        await queue.enqueue("q", "stubborn", [{}])
    worker = program("worker", "--timeout", "100ms", RESQPY_TASKS_CANCEL_TIMEOUT="100")

    await wait_for((root / "tasks" / "begun.txt").exists, timeout=100)
    worker.send_signal(signal.SIGTERM)
    code, output = ended(worker)
    assert code == 0, output
    assert "does not end" in output
    assert await redis.llen("resque:queue:q") == 1


async def _ended(redis: Redis, count: int) -> bool:
    done = [int(await redis.get(f"resque:stat:{what}") or 0) for what in ("processed", "failed")]
    return sum(done) == count
