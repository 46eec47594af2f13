"""Child processes of jobs that were cut off: told and counted."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import Any

import pytest

from resqpy import MultiWorker, Queue
from resqpy.base.errors import InvalidTask
from resqpy.engine.definition import define
from tests.cli.processes import lives
from tests.support.waiting import wait_for

started: list[int] = []


def sleeper() -> int:
    """Start a program that sleeps; its pid."""
    return os.posix_spawnp("sleep", ["sleep", "600"], os.environ)


def ended(pid: int) -> None:
    """Kill it and wait for its end."""
    with suppress(ProcessLookupError):
        os.kill(pid, 9)
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)


def waits_for_a_child() -> None:
    """In a thread."""
    started.append(sleeper())
    while True:
        os.sched_yield()


async def awaits_a_child() -> None:
    """On the loop."""
    started.append(sleeper())
    await asyncio.sleep(600)


def ends_its_child() -> None:
    """In a thread."""
    ended(sleeper())
    while True:
        os.sched_yield()


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="Linux lists them")  # noqa: PTH110
@pytest.mark.parametrize("function", [waits_for_a_child, awaits_a_child, ends_its_child])
async def test_children_of_a_job_that_ran_out_of_time(redis_url: str, function: Any) -> None:
    """They are named and counted while they live; those of others, and ended ones, are not."""
    started.clear()
    other = sleeper()  # another part of this process has it, since before the job
    await asyncio.sleep(0.1)  # the system counts ages of processes in hundredths of a second
    jobs = {"job": define("job", function, time_limit=300)}
    told: list[str] = []
    try:
        async with Queue(redis_url) as queue, MultiWorker(redis_url, jobs, ["q"]) as worker:
            worker.on("error", lambda error, *_: told.append(str(error)))
            failed: list[Any] = []
            worker.on("failure", lambda *details: failed.append(details))
            await queue.enqueue("q", "job", [])
            await wait_for(lambda: failed)
            left = worker.pool.runner.left

            assert left.children == len(started)
            assert [f"{pid} (sleep)" in words for pid in started for words in told[-1:]] == [
                True for _ in started
            ]
            assert not any(f"{other} (" in words for words in told)
            for pid in started:
                ended(pid)
            assert left.children == 0
    finally:
        ended(other)


async def test_a_task_may_say_that_they_end_with_it(redis_url: str) -> None:
    """Also one that does not hear TERM; those of other threads live on."""
    started.clear()
    other = sleeper()
    jobs = {"job": define("job", waits_for_two, time_limit=300, end_children=True)}
    failed: list[Any] = []
    try:
        async with Queue(redis_url) as queue, MultiWorker(redis_url, jobs, ["q"]) as worker:
            worker.on("failure", lambda *details: failed.append(details))
            await queue.enqueue("q", "job", [])
            await wait_for(lambda: failed)
            await wait_for(lambda: not any(map(lives, started)))
            assert lives(other)
    finally:
        for pid in (other, *started):
            ended(pid)


def waits_for_two() -> None:
    """One of them deaf."""
    deaf = ["sh", "-c", "trap '' TERM; read x < /dev/zero"]
    started.extend([sleeper(), os.posix_spawnp("sh", deaf, os.environ)])
    while True:
        os.sched_yield()


def test_a_coroutine_is_refused() -> None:
    """Its children can't be told from those of others."""
    with pytest.raises(InvalidTask, match="plain functions"):
        define("job", awaits_a_child, end_children=True)
