"""Limits of tasks and keys while processes are killed or frozen: never more than may, no place left, all run."""

from __future__ import annotations

import asyncio
import itertools
import json
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
import asyncio, itertools, os, sys
from resqpy import Limit, MultiWorker, ScalingOptions, WorkerOptions
from resqpy.engine.definition import define

counter = itertools.count()

async def job(inputs: dict) -> None:
    key, number = inputs["account"], inputs["number"]
    me = f"{os.getpid()}:{number}:{next(counter)}"
    await redis.call("HINCRBY", "runs", number, 1)
    for name in (key, "all"):
        await redis.call("SADD", f"running:{name}", me)
        await redis.call("ZADD", "most", "GT", await redis.call("SCARD", f"running:{name}"), name)
    await asyncio.sleep(0.005)
    for name in (key, "all"):
        await redis.call("SREM", f"running:{name}", me)
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


@pytest.mark.parametrize(
    ("jobs", "kills"),
    [(600, 3), pytest.param(100_000, 60, marks=[pytest.mark.full, pytest.mark.timeout(3600)])],
)
async def test_keys_while_processes_are_killed(
    redis_url: str, redis: Any, jobs: int, kills: int
) -> None:
    """Three processes, of which one after the other is killed -9 and replaced; one job in a hundred is there
    twice.
    """
    chance = random.Random(jobs)
    async with Resque(redis_url) as resque:
        work = [("q", "C", [{"account": chance.choice(KEYS), "number": n}]) for n in range(jobs)]
        await resque.enqueue_many([*work[: jobs // 100], *work])
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
            await wait_for(lambda: _empty(resque), 60)
            await wait_for(lambda: _idle(redis), 60)

            runs = [int(each) for each in await redis.hvals("runs")]
            assert (len(runs), sum(runs) >= jobs + jobs // 100) == (jobs, True)
            await _nothing_is_left(resque, redis)
        finally:
            for child in children:
                child.kill()
                await asyncio.to_thread(child.wait)


@pytest.mark.parametrize(
    ("jobs", "freezes"),
    [(300, 1), pytest.param(3000, 12, marks=[pytest.mark.full, pytest.mark.timeout(1800)])],
)
async def test_keys_while_a_process_is_frozen(
    redis_url: str, redis: Any, jobs: int, freezes: int
) -> None:
    """Until others have taken its jobs back, and then it goes on: never more than may run beside what it ran then,
    which runs twice, and what it takes anew counts as that of the others.
    """
    chance, children = random.Random(jobs), []
    async with Resque(redis_url) as resque:
        try:
            children += [await asyncio.to_thread(start, redis_url) for _ in range(3)]
            for n in range(freezes):
                some = range(n * jobs, (n + 1) * jobs)
                work = [("q", "C", [{"account": chance.choice(KEYS), "number": e}]) for e in some]
                await resque.enqueue_many(work[: jobs // 2])
                frozen, twice = await _freeze(redis, children)
                await _forget(redis, frozen.pid)
                await wait_for(lambda pid=frozen.pid: _rescued(redis, pid), 60)  # type: ignore[misc]
                await resque.enqueue_many(work[jobs // 2 :])
                os.kill(frozen.pid, signal.SIGCONT)
                await wait_for(lambda done=some.stop: _reached(redis, done), 120)  # type: ignore[misc]
                await wait_for(lambda: _empty(resque), 60)
                await wait_for(lambda: _idle(redis), 60)
                assert [e for e in twice if int(await redis.hget("runs", e)) < 2] == []
            await _nothing_is_left(resque, redis)
        finally:
            for child in children:
                child.kill()
                await asyncio.to_thread(child.wait)


async def _freeze(
    redis: Any, children: list[subprocess.Popen[bytes]]
) -> tuple[subprocess.Popen[bytes], set[bytes]]:
    """Stop a process in the middle of its jobs, all of which have said that they run: one that says so when it
    goes on would count beside those that took its place. Returns it, and their numbers.
    """
    for child in itertools.cycle(children):
        os.kill(child.pid, signal.SIGSTOP)
        await asyncio.to_thread(os.waitid, os.P_PID, child.pid, os.WSTOPPED)
        mine = f"{child.pid}:".encode()
        said = await redis.smembers("running:all")
        running = {each.split(b":")[1] for each in said if each.startswith(mine)}
        if running and await _taken_by(redis, child.pid) <= running:
            return child, running
        os.kill(child.pid, signal.SIGCONT)
        await asyncio.sleep(0)
    raise AssertionError("there is no process")


async def _taken_by(redis: Any, pid: int) -> set[bytes]:
    """The numbers of the jobs in the records of a process."""
    keys = [key async for key in redis.scan_iter(f"resque:worker:*:{pid}-*:q")]
    records = [json.loads(each) for each in await redis.mget(keys) if each] if keys else []
    return {str(each["payload"]["args"][0]["number"]).encode() for each in records}


async def _empty(resque: Resque) -> bool:
    """Whether no job waits, or is parked."""
    return await resque.length("q") == 0


async def _rescued(redis: Any, pid: int) -> bool:
    """Whether no record of a process is left."""
    return [key async for key in redis.scan_iter(f"resque:worker:*:{pid}-*")] == []


async def _nothing_is_left(resque: Resque, redis: Any) -> None:
    """Never more ran than may; nothing waits, has failed, or holds a place."""
    most = {key: await redis.zscore("most", key) for key in (*KEYS, "all")}
    assert {key for key in KEYS if most[key] > 2} == set()
    assert 2 < most["all"] <= 7  # on a busy machine seven seldom run at once
    assert await queues.parked(resque.store) == []
    assert await resque.length("q") == 0
    assert await redis.exists("resque:failed") == 0
    slots = [key async for key in redis.scan_iter("resque:resqpy:limits:slots:*")]
    assert slots == []
    assert await redis.hlen("resque:resqpy:limits:holds") == 0


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
