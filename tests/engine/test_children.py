"""Child processes of jobs that were cut off: told and counted."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from resqpy import MultiWorker, Queue
from resqpy.engine.definition import define
from tests.support.waiting import wait_for

started: list[int] = []


def sleeper() -> int:
    """Start a program that sleeps; its pid."""
    return os.posix_spawnp("sleep", ["sleep", "600"], os.environ)


def ended(pid: int) -> None:
    """Kill it and wait for its end."""
    os.kill(pid, 9)
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
