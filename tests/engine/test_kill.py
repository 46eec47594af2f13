"""`kill -9` at random moments: a job is at every moment in exactly one place."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from resqpy import Queue
from resqpy.base import job_records
from tests.support.waiting import wait_for


class Drain:
    """Numbered jobs, and the processes that drain them one after the other."""

    def __init__(self, url: str, redis: Any, done: Path, count: int) -> None:
        self.url = url
        self.redis = redis
        self.count = count
        self._done = done

    async def fill(self) -> None:
        """Enqueue the jobs; each seventh is too large for a record."""
        jobs = [
            ("q", "note", [n] if n % 7 else [n, "x" * 70_000 if n % 700 == 0 else "\x7f"])
            for n in range(self.count)
        ]
        async with Queue(self.url) as queue:
            await queue.enqueue_many(jobs)

    async def run_and_kill(self, after_s: float) -> None:
        """Start a process, and kill it some time after it has begun to work."""
        waiting = await self.redis.llen("resque:queue:q")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.support.drainer", self.url, str(self._done),
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:

            async def begun() -> bool:
                return bool(await self.redis.llen("resque:queue:q") < waiting)

            await wait_for(begun, 20)
            await asyncio.sleep(after_s)
        finally:
            process.kill()
            await process.communicate()

    async def places(self) -> dict[str, list[int]]:
        """Where each job is: in which of the places, by its number."""
        redis = self.redis
        queued = await redis.lrange("resque:queue:q", 0, -1)
        failed = [
            job_records.decode_failed(e).job_raw for e in await redis.lrange("resque:failed", 0, -1)
        ]
        delayed = [
            item
            for second in await redis.zrange("resque:delayed_queue_schedule", 0, -1)
            for item in await redis.lrange(b"resque:delayed:" + second, 0, -1)
        ]
        done = await asyncio.to_thread(self._done.read_text)
        return {
            "queued": [number(raw) for raw in queued],
            "failed": [number(raw) for raw in failed],
            "delayed": [number(raw) for raw in delayed],
            "on record": [number(raw) for raw in await self.records()],
            "done": [int(line) for line in done.split()],
        }

    async def records(self) -> list[bytes]:
        """The jobs of the dead, from their records or from beside them."""
        found = []
        for key in await self.redis.keys("resque:worker:*:q"):
            worker_id = key.removeprefix(b"resque:worker:")
            held = await self.redis.get(b"resque:resqpy:held:" + worker_id)
            found.append(held or job_records.payload_of_work(await self.redis.get(key)) or b"")
        assert len(await self.redis.keys("resque:resqpy:held:*")) <= len(found)
        return found


def number(raw: bytes | None) -> int:
    """A job's number."""
    assert raw is not None
    found: int = json.loads(raw)["args"][0]
    return found


async def prove(drain: Drain, kills: int, longest_s: float) -> None:
    """Kill again and again, then look where everything is."""
    chance = random.Random()
    await drain.fill()
    for _ in range(kills):
        if not await drain.redis.llen("resque:queue:q"):
            break
        await drain.run_and_kill(chance.uniform(0, longest_s))

    places = await drain.places()
    everywhere = {n for numbers in places.values() for n in numbers}
    assert everywhere == set(range(drain.count)), sorted(set(range(drain.count)) - everywhere)[:20]
    in_redis = Counter(
        n for place in ("queued", "failed", "delayed", "on record") for n in places[place]
    )
    assert [n for n, times in in_redis.items() if times > 1] == []
    done_twice = [n for n, times in Counter(places["done"]).items() if times > 1]
    assert done_twice == []  # nothing was rescued here, so nothing ran twice
    # done and still in Redis are only those whose end was not written when the process died
    assert set(places["done"]) & set(in_redis) <= set(places["on record"])
    assert all(n % 10 == 0 for n in places["failed"])
    assert all(n % 10 in {1, 2} for n in places["delayed"])


@pytest.mark.promise("killed", "plain")
async def test_killed_at_random_nothing_is_missing(
    redis_url: str, redis: Any, tmp_path: Path
) -> None:
    """A few kills in a drain of 4,000 jobs: each job is done or in exactly one place."""
    await prove(Drain(redis_url, redis, tmp_path / "done", 4_000), 5, 0.15)


@pytest.mark.full
@pytest.mark.timeout(600)
async def test_killed_a_hundred_times_nothing_is_missing(
    redis_url: str, redis: Any, tmp_path: Path
) -> None:
    """20,000 jobs, and a kill at random moments until the queue is empty."""
    drain = Drain(redis_url, redis, tmp_path / "done", 20_000)
    await prove(drain, 300, 0.1)
    assert not (await drain.places())["queued"]
