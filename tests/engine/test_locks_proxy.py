"""The walk through the proxy with equal jobs: JobLock lets one of them run at a time, whoever takes the lock, and
the others wait for it.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable
from functools import partial
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy.engine.worker.pool import Pool
from tests.engine.test_exchange_proxy import JOBS, TOGETHER, Progress, part_of, walks

EQUAL = 4  # so many different jobs
SPELLINGS = (
    '{"class":"note","queue":"q","args":[%d]}',  # of which the exchange reads the key
    '{"class":"note","queue":"q","args":[%d]}',
    '{"class":"note","queue":"q","args":[%d.0]}',  # the plugin does
    '{"class":"note", "queue":"q", "args":[%d]}',
)


class EqualJobs(Progress):
    """One walk."""

    async def note(self, number: float) -> None:
        """A task."""
        which = int(number)
        self.running[which] += 1
        self.met |= self.running[which] > 1
        try:
            await asyncio.sleep(self.random.random() * 0.01)
            self.ran[which] += 1
        finally:
            self.running[which] -= 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self.running = Counter[int]()
        self.met: bool = False

    async def put(self, client: Any) -> None:
        """Enqueue them, in any order."""
        jobs = [self.random.choice(SPELLINGS) % (n % EQUAL) for n in range(JOBS)]
        self.random.shuffle(jobs)
        await client.rpush(self.key("queue", "q"), *jobs)

    async def act(self, what: str) -> None:
        """What waited for its lock is due, whoever leads."""
        async with Redis.from_url(self.direct) as client:
            await self.promote(client)
        await super().act(what)

    async def promote(self, client: Any) -> None:
        """Move all delayed jobs back."""
        for key in await client.keys(self.key("delayed:*")):
            while await client.lmove(key, self.key("queue", "q"), "LEFT", "RIGHT"):
                pass

    async def problems(self) -> list[str]:
        """What was lost, doubled or left, when all processes are gone and the rescue was there."""
        await self.rescue()
        await self.rescue()
        async with Redis.from_url(self.direct) as client:
            await self.promote(client)
            left = await client.lrange(self.key("queue", "q"), 0, -1)
            failed = await client.lrange(self.key("failed"), 0, -1)
            locks = await client.keys(self.key("*worker*lock*")) + await client.keys(
                self.key("*job_locks*")
            )
            records = await client.keys(self.key("worker:*"))
        await self.store.close()
        there = (
            self.ran + counted(left) + counted(json.dumps(json.loads(e)["payload"]) for e in failed)
        )
        wanted = Counter(n % EQUAL for n in range(JOBS))
        found = [f"lost {each}" for each in (wanted - there).elements()]
        if not self.disturbed:
            found += [f"doubled {each}" for each in (there - wanted).elements()]
            found += ["equal jobs at once"] * self.met
        return found + [f"left {each!r}" for each in locks + records]


def counted(jobs: Iterable[Any]) -> Counter[int]:
    """How many there are of each."""
    return Counter(int(json.loads(raw)["args"][0]) for raw in jobs)


equal_walks = partial(walks, kind=EqualJobs, plugins=["JobLock"])


@pytest.mark.parametrize("part", range(400, 406))
async def test_equal_jobs_wait_for_each_other(
    redis_url: str, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None is lost or doubled, no two run at once, no lock is left."""
    monkeypatch.setattr(Pool, "most_in_flight", part % 3 + 1)

    assert await equal_walks(redis_url, part_of(TOGETHER, part)) == {}


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(420, 440))
async def test_equal_jobs_wait_for_each_other_for_long(
    redis_url: str, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1,500 walks more."""
    monkeypatch.setattr(Pool, "most_in_flight", part % 3 + 1)

    for seeds in range(5):
        assert await equal_walks(redis_url, part_of(TOGETHER, part * 5 + seeds)) == {}
