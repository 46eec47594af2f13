"""A class moves while processes of ours are killed: each job runs here or goes to the other side, none on both."""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from resqpy import Resque
from resqpy.store.migrations import ALL, Migration, migrate, migrations
from tests.support.waiting import wait_for

# Each run is noted as node-resque's test worker notes its own.
PROGRAM = """
import asyncio, json, sys
from resqpy import MultiWorker, ScalingOptions, WorkerOptions
from resqpy.engine.definition import define

async def job(inputs: dict) -> None:
    if await redis.call("EXISTS", "interop:broken"):
        raise ValueError("broken")
    said = {"by": "python", "class": "echo", "args": [inputs]}
    await redis.call("RPUSH", "interop:ran", json.dumps(said))

async def main() -> None:
    global redis
    options = WorkerOptions(heartbeat_s=0.5, rescue_after_s=3.0)
    scaling = ScalingOptions(min_task_processors=6, max_task_processors=6)
    async with MultiWorker(sys.argv[1], {"echo": define("echo", job)}, "mail", options, scaling) as worker:
        redis = worker.store
        print("ready", flush=True)
        await worker.wait()

asyncio.run(main())
"""
RULE = Migration("mail", "node", ALL // 2, over=50, max_errors=1000, max_ms=0)


def start(url: str) -> subprocess.Popen[bytes]:
    """A process of our workers, once it works."""
    made = subprocess.Popen([sys.executable, "-c", PROGRAM, url], stdout=subprocess.PIPE)
    assert made.stdout is not None
    made.stdout.readline()
    made.stdout.close()
    return made


def kill(child: subprocess.Popen[bytes]) -> None:
    """By signal 9."""
    child.kill()
    child.wait()


async def runs(redis: Any) -> dict[str, Counter[int]]:
    """How often each job has run, by side."""
    found: dict[str, Counter[int]] = {"python": Counter(), "node": Counter()}
    for raw in await redis.lrange("interop:ran", 0, -1):
        said = json.loads(raw)
        found[said["by"]][said["args"][0]["n"]] += 1
    return found


async def idle(redis: Any) -> bool:
    """Whether nothing waits here or is on a record."""
    records = [
        key async for key in redis.scan_iter("resque:worker:*:mail") if b":started" not in key
    ]
    return not records and not await redis.exists("resque:queue:mail")


def within(count: int, of: int, share: int) -> bool:
    """Whether so many are such a share: five standard deviations."""
    p = share / ALL
    return abs(count - of * p) <= 5 * math.sqrt(of * p * (1 - p))


@pytest.mark.parametrize(
    ("jobs", "kills"),
    [
        (1500, 3),
        pytest.param(50_000, 40, marks=[pytest.mark.full, pytest.mark.timeout(1800)]),
    ],
)
async def test_while_processes_are_killed(
    redis_url: str, redis: Any, jobs: int, kills: int
) -> None:
    """One after the other, in the middle of its work; what it ran is taken back, and stays ours."""
    async with Resque(redis_url) as resque:
        await migrate(resque.store, "echo", RULE)
        children = [await asyncio.to_thread(start, redis_url) for _ in range(2)]
        try:
            for n in range(kills):
                part = range(n * jobs // kills, (n + 1) * jobs // kills)
                await resque.enqueue_many([("mail", "echo", [{"n": each}]) for each in part])
                half = len(part) // 2
                await wait_for(lambda half=half: _is_at_most(redis, half), 120)  # type: ignore[misc]
                await asyncio.to_thread(kill, children.pop(0))
                children.append(await asyncio.to_thread(start, redis_url))
            await wait_for(lambda: idle(redis), 120)
        finally:
            for child in children:
                await asyncio.to_thread(kill, child)
        ours, found = (await runs(redis))["python"], (await migrations(resque.store))["echo"]
        sent = [
            json.loads(e)["args"][0]["n"]
            for e in await redis.lrange("resque:queue:mail.node", 0, -1)
        ]

    assert (len({*sent}), {*ours} & {*sent}) == (len(sent), set())
    assert {*ours} | {*sent} == {*range(jobs)}
    assert within(len(ours), jobs, RULE.share)
    assert (
        sum(ours.values()) - len(ours) <= kills * 6
    )  # what a killed process had done, and could not say
    assert (found.count("theirs"), await redis.exists("resque:failed")) == (len(sent), 0)


async def _is_at_most(redis: Any, count: int) -> bool:
    return bool(await redis.llen("resque:queue:mail") <= count)
