"""`kill -9` at each await of the cron fire, of the chains and of the run that goes on with them."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import pytest

from resqpy.engine.options import WorkerOptions
from resqpy.engine.worker.worker import Worker
from tests.support import periodic_main
from tests.support.scheduler_process import SchedulerProcess
from tests.support.waiting import wait_for

DUE, OUT = "resque:resqpy:periodic:due", "resque:resqpy:periodic:out"
FAST: dict[str, Any] = {"lease_s": 0.2, "timeout_s": 0.1, "rescue_after_s": 1.0}


class PeriodicProcess(SchedulerProcess):
    """A scheduler with periodic tasks."""

    MODULE = "tests.support.periodic_main"


async def fired(redis: Any, queue: str) -> list[int]:
    """The times of a cron task's jobs."""
    raws = await redis.lrange(f"resque:queue:{queue}", 0, -1)
    return [json.loads(raw)["resqpy_at"] for raw in raws]


async def runs(redis: Any) -> list[tuple[str, int]]:
    """What the runs of `tick` noted."""
    words = [raw.decode().split(" ") for raw in await redis.lrange(periodic_main.RAN, 0, -1)]
    return [(what, int(at)) for what, at in words]


async def goes_on(redis: Any, since: int) -> bool:
    """The chain has gone on for a while, and so have the cron tasks."""
    return len(await runs(redis)) > since + 20 and len(await fired(redis, "c")) > 2


async def at_once(redis: Any) -> list[int]:
    """How many chains wait, and how many are out, at one moment: between two looks one goes over."""
    async with redis.pipeline(transaction=True) as both:
        counts: list[int] = await both.zcard(DUE).hlen(OUT).execute()
        return counts


def check(times: list[int], step_ms: int) -> None:
    """Each time once, none left out."""
    assert times == list(range(times[0], times[-1] + 1, step_ms))


async def poisoned(redis: Any) -> set[int]:
    """The times of runs that were lost three times, so that they did not run again."""
    entries = map(json.loads, await redis.lrange("resque:failed", 0, -1))
    return {
        entry["payload"]["resqpy_at"] for entry in entries if entry["exception"] == "PoisonPill"
    }


async def die_and_count(
    url: str, redis: Any, deaths: list[dict[str, int]], again: int = 0, **options: Any
) -> None:
    """Kill so many leaders, and look at what was enqueued and run.

    Args:
        again: how many runs may begin once more, for the worker is killed as well.
    """
    async with PeriodicProcess(url, deaths=deaths, **FAST, **options) as process:
        await wait_for(lambda: process.count("died") == len(deaths), timeout=len(deaths) * 3 + 10)
        since = len(await runs(redis))
        print(f"\nwhile they died: {since // 2} runs, {len(await fired(redis, 'c'))} cron fires")
        await wait_for(lambda: goes_on(redis, since), timeout=100)
        assert sum(await at_once(redis)) == 1
    told = await runs(redis)
    check(await fired(redis, "c"), 1000)
    check(await fired(redis, "h"), 2000)
    begun = [at for what, at in told if what == "begin"]
    ended = [at for what, at in told if what == "end"]
    assert begun == sorted(begun)
    print(
        f"\n{len(deaths)} kills: {len(set(begun))} runs, {len(begun) - len(set(begun))} of them again"
    )
    assert len(begun) - len(set(begun)) <= again
    lost = await poisoned(redis)
    assert set(begun[:-1]) - lost <= set(ended)
    # one at a time: nothing else begins before what has begun ends, or dies and begins again
    for (what, at), (then, later) in itertools.pairwise(told):
        assert at == later or (what, then) == ("end", "begin") or at in lost


@pytest.mark.promise("leader killed", "periodic", "cron")
async def test_leaders_killed_at_each_of_their_first_awaits(redis_url: str, redis: Any) -> None:
    """No fire is lost or doubled, and the chain of the task goes on, one job at a time."""
    async with Worker(redis_url, periodic_main.JOBS, ["q"], WorkerOptions(heartbeat_s=0.2)):
        await die_and_count(redis_url, redis, [{"step": step} for step in range(10, 130, 7)])


@pytest.mark.promise("killed", "periodic")
async def test_workers_killed_with_a_run(redis_url: str, redis: Any) -> None:
    """The job of a chain comes back with its time, and its end is the one that counts."""
    deaths = [{"ms": 700 + 37 * n} for n in range(4)]
    await die_and_count(redis_url, redis, deaths, len(deaths), worker=True)


@pytest.mark.full
@pytest.mark.timeout(900)
async def test_killed_hundreds_of_times(redis_url: str, redis: Any) -> None:
    """At every await and at any moment, leader and worker in one process and apart."""
    seed = random.randrange(10**6)
    print(f"\nseed {seed}")
    chance = random.Random(seed)
    deaths = [{"step": chance.randint(1, 120)} for _ in range(240)]
    deaths += [{"ms": chance.randint(250, 900)} for _ in range(60)]
    chance.shuffle(deaths)
    async with Worker(redis_url, periodic_main.JOBS, ["q"], WorkerOptions(heartbeat_s=0.2)):
        await die_and_count(redis_url, redis, deaths[:150])
    await redis.flushall()
    await die_and_count(redis_url, redis, deaths[150:], 150, worker=True)


async def test_one_instance_among_three_processes(redis_url: str, redis: Any) -> None:
    """Three processes, each a scheduler and a worker: each run ends before the next begins."""
    processes = [PeriodicProcess(redis_url, worker=True, **FAST) for _ in range(3)]
    async with processes[0], processes[1], processes[2]:
        await wait_for(
            lambda: all(each.count("follower") or each.count("leader") for each in processes), 30
        )
        since = len(await runs(redis))
        await wait_for(lambda: goes_on(redis, since), timeout=100)
        async with redis.pipeline() as both:  # in one step: it goes from one to the other
            both.zcard(DUE)
            both.hlen(OUT)
            assert sum(await both.execute()) == 1
        told = await runs(redis)
    begun = [at for what, at in told if what == "begin"]
    assert len(begun) == len(set(begun))
    assert [what for what, _ in told] == ["begin", "end"] * (len(told) // 2) + ["begin"] * (
        len(told) % 2
    )
