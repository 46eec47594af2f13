"""A leader that is killed at any point of promotion loses nothing and doubles nothing."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from typing import Any

import pytest

from resqpy.framework.api.scheduler import Scheduler
from resqpy.framework.config.sections import SchedulerOptions
from tests.support.scheduler_process import SchedulerProcess
from tests.support.waiting import wait_for

KINDS = ("Plain", "Hooked", "Locked")


def items(count: int, kinds: tuple[str, ...] = KINDS) -> list[bytes]:
    """Numbered jobs of all kinds, in runs, so that steps of all kinds are taken."""
    names = (kinds[number // 7 % len(kinds)] for number in range(count))
    return [
        json.dumps({"class": name, "queue": f"q{number % 3}", "args": [number]}).encode()
        for number, name in enumerate(names)
    ]


async def delay(redis: Any, wanted: list[bytes], seconds: int = 4) -> None:
    """Store items in a few seconds that are over."""
    async with redis.pipeline(transaction=False) as pipe:
        for number, item in enumerate(wanted):
            second = 1000 + number * seconds // len(wanted)
            pipe.rpush(f"resque:delayed:{second}", item)
            pipe.sadd(b"resque:timestamps:" + item, f"delayed:{second}")
            pipe.zadd("resque:delayed_queue_schedule", {str(second): second})
        await pipe.execute()


async def queued(redis: Any) -> Counter[bytes]:
    """All items in the queues, counted."""
    found: Counter[bytes] = Counter()
    for name in ("q0", "q1", "q2"):
        found.update(await redis.lrange(f"resque:queue:{name}", 0, -1))
    return found


async def drained(redis: Any) -> Any:
    """Nothing is delayed or claimed."""
    keys = ("resque:delayed_queue_schedule", "resque:resqpy:claimed")
    return await redis.exists(*keys) == 0


def report(wanted: list[bytes], found: Counter[bytes]) -> tuple[int, int]:
    """How many are lost, and how many are there more than once."""
    lost = sum(item not in found for item in wanted)
    doubled = sum(count > 1 for count in found.values())
    return lost, doubled


async def die_and_drain(url: str, redis: Any, count: int, deaths: list[dict[str, int]]) -> None:
    """Kill so many leaders, let the last one finish, and count."""
    wanted = items(count)
    await delay(redis, wanted)
    options = {"lease_s": 0.2, "timeout_s": 0.05}
    async with SchedulerProcess(url, deaths=deaths, small=True, **options) as process:
        await wait_for(lambda: process.count("died") == len(deaths), timeout=len(deaths) * 2 + 10)
        await wait_for(lambda: drained(redis), timeout=100)
    lost, doubled = report(wanted, await queued(redis))
    print(f"\n{count} jobs, {len(deaths)} kills: {lost} lost, {doubled} doubled")
    assert (lost, doubled) == (0, 0)
    assert await redis.keys("resque:timestamps:*") == []


@pytest.mark.promise("leader killed", "delayed")
async def test_killed_at_each_of_the_first_awaits(redis_url: str, redis: Any) -> None:
    """One leader after the other dies one await later than the one before."""
    await die_and_drain(redis_url, redis, 400, [{"step": step} for step in range(1, 13)])


@pytest.mark.full
@pytest.mark.timeout(600)
async def test_killed_at_each_await_hundreds_of_times(redis_url: str, redis: Any) -> None:
    """At every await that promotion has, and at any moment, three hundred times."""
    seed = random.randrange(10**6)
    print(f"\nseed {seed}")
    chance = random.Random(seed)
    deaths = [{"step": chance.randint(1, 60)} for _ in range(240)]
    deaths += [{"ms": chance.randint(150, 350)} for _ in range(60)]
    chance.shuffle(deaths)
    await die_and_drain(redis_url, redis, 60_000, deaths)


async def test_a_killed_leader_is_replaced_though_its_foreign_locks_live(
    redis_url: str, redis: Any
) -> None:
    """The successor waits for the lease, and takes the foreign locks that are known to be ours."""
    await _kill_and_time(redis_url, redis, SchedulerOptions(lease_s=0.5), within_s=15.0)


@pytest.mark.full
async def test_a_killed_leader_is_replaced_within_15_seconds(redis_url: str, redis: Any) -> None:
    """With the settings as they are."""
    await _kill_and_time(redis_url, redis, SchedulerOptions(), within_s=15.0)


async def _kill_and_time(url: str, redis: Any, options: SchedulerOptions, within_s: float) -> None:
    async with SchedulerProcess(url, lease_s=options.lease_s) as first:
        await first.leads()
        async with Scheduler(url, options=options) as second:
            await wait_for(lambda: second.running)
            await first.kill()
            killed = time.monotonic()
            await wait_for(lambda: second.promoting, timeout=within_s + 5)
            took_s = time.monotonic() - killed
            assert await redis.ttl("resque:resque_scheduler_leader_lock") > 170
    print(f"\nreplaced after {took_s:.2f} s")
    assert took_s < within_s


async def test_a_frozen_leader_that_wakes_up_writes_nothing(redis_url: str, redis: Any) -> None:
    """While it was frozen another took over; it finds the fence closed and follows."""
    async with SchedulerProcess(redis_url, lease_s=0.3, timeout_s=0.1) as first:
        await first.leads()
        first.freeze()
        async with SchedulerProcess(redis_url, lease_s=30, timeout_s=0.1) as second:
            await second.leads()
            second.freeze()  # so that only the first could do anything
            await delay(redis, items(50))
            first.thaw()
            await wait_for(lambda: first.count("follower"), timeout=100)
            assert await queued(redis) == Counter()
            assert not await redis.exists("resque:resqpy:claimed")
            second.thaw()
            await wait_for(lambda: drained(redis))
    assert report(items(50), await queued(redis)) == (0, 0)
    assert first.count("error") == 0
