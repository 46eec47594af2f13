"""Limits of tasks and keys while their processes are killed: never more than may, no place is left, all run."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from typing import Any

import pytest

from resqpy import Resque
from resqpy.store import queues
from tests.support.waiting import wait_for

# Each job says in Redis that it runs, under its key, and how many do then.
PROGRAM = """
import asyncio, os, sys
from resqpy import Limit, MultiWorker, ScalingOptions, WorkerOptions
from resqpy.engine.definition import define

async def job(inputs: dict) -> None:
    key, number = inputs["account"], inputs["number"]
    for name in (key, "all"):
        await redis.call("SADD", f"running:{name}", f"{os.getpid()}:{number}")
        await redis.call("ZADD", "most", "GT", await redis.call("SCARD", f"running:{name}"), name)
    await asyncio.sleep(0.005)
    for name in (key, "all"):
        await redis.call("SREM", f"running:{name}", f"{os.getpid()}:{number}")
    await redis.call("SADD", "done", number)

async def main() -> None:
    global redis
    options = WorkerOptions(heartbeat_s=0.5, rescue_after_s=3.0)
    scaling = ScalingOptions(min_task_processors=6, max_task_processors=6)
    limit = [Limit(7, name="all"), Limit(2, per="account")]
    jobs = {"C": define("C", job, limit=limit)}
    async with MultiWorker(sys.argv[1], jobs, "q", options, scaling) as worker:
        redis = worker.store
        print("ready", flush=True)
        await worker.wait()

asyncio.run(main())
"""
KEYS = [f"a{n}" for n in range(5)]


def start(url: str) -> subprocess.Popen[bytes]:
    """A process of workers, once it works."""
    made = subprocess.Popen([sys.executable, "-c", PROGRAM, url], stdout=subprocess.PIPE)
    assert made.stdout is not None
    made.stdout.readline()
    made.stdout.close()
    return made


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("jobs", "kills"),
    [(600, 3), pytest.param(20_000, 40, marks=[pytest.mark.full, pytest.mark.timeout(1800)])],
)
async def test_keys_while_processes_are_killed(
    redis_url: str, redis: Any, jobs: int, kills: int
) -> None:
    """Three processes, of which one after the other is killed -9 and replaced."""
    chance = random.Random(jobs)
    async with Resque(redis_url) as resque:
        await resque.enqueue_many(
            [("q", "C", [{"account": chance.choice(KEYS), "number": n}]) for n in range(jobs)]
        )
        children = [await asyncio.to_thread(start, redis_url) for _ in range(3)]
        try:
            for n in range(kills):
                done = jobs * (n + 1) // (kills + 1)
                await wait_for(lambda done=done: _reached(redis, done), 120)  # type: ignore[misc]
                killed = children.pop(0)
                os.kill(killed.pid, signal.SIGKILL)
                await asyncio.to_thread(killed.wait)
                await _forget(redis, killed.pid)
                children.append(await asyncio.to_thread(start, redis_url))
            await wait_for(lambda: _reached(redis, jobs), 120)
            await wait_for(lambda: _idle(redis), 60)

            most = {key: await redis.zscore("most", key) for key in (*KEYS, "all")}
            assert {key for key in KEYS if most[key] > 2} == set()
            assert 2 < most["all"] <= 7  # on a busy machine seven seldom run at once
            assert await queues.parked(resque.store) == []
            assert await resque.length("q") == 0
            assert await redis.exists("resque:failed") == 0
            slots = [key async for key in redis.scan_iter("resque:resqpy:limits:slots:*")]
            assert slots == []
            assert await redis.hlen("resque:resqpy:limits:holds") == 0
        finally:
            for child in children:
                child.kill()
                await asyncio.to_thread(child.wait)


async def _reached(redis: Any, count: int) -> bool:
    return bool(await redis.scard("done") >= count)


async def _idle(redis: Any) -> bool:
    """Whether no record is left, of a job that runs a second time, say."""
    found = [key async for key in redis.scan_iter("resque:worker:*") if b":started" not in key]
    return found == []


async def _forget(redis: Any, pid: int) -> None:
    """What a killed process ran runs no more; nobody takes its places before the rescue."""
    for name in (*KEYS, "all"):
        for each in await redis.smembers(f"running:{name}"):
            if each.startswith(f"{pid}:".encode()):
                await redis.srem(f"running:{name}", each)
