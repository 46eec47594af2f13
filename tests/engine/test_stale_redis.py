"""Redis comes back with older data, or none, under a worker that runs: it goes on by itself, all is worked."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy import Queue
from resqpy.base import job_records
from resqpy.base.model import WorkerId
from resqpy.embedded import PrivateServer
from tests.support.waiting import wait_for
from tests.support.working import Working, working

FAST: dict[str, Any] = {"heartbeat_s": 0.1, "rescue_after_s": 1.0, "timeout_s": 0.2}
COUNT = 200
JOB = b'{"class":"note","queue":"q","args":[7]}'


class Stale:
    """A server that can go back to an earlier time."""

    def __init__(self, server: PrivateServer) -> None:
        self.server = server
        self._dump = server.directory / "dump.rdb"
        self._kept = Path(f"{server.directory}.rdb")

    async def keep(self) -> None:
        """Remember what it has now."""
        client: Any
        async with Redis.from_url(self.server.url) as client:
            await client.save()
        shutil.copy(self._dump, self._kept)

    def go_back(self) -> None:
        """To what was kept; to nothing where nothing was."""
        self.server.kill()
        self._dump.unlink(missing_ok=True)
        if self._kept.exists():
            shutil.copy(self._kept, self._dump)
        self.server.start()

    def close(self) -> None:
        """Remove the copy."""
        self._kept.unlink(missing_ok=True)


@pytest.fixture
def stale() -> Iterator[Stale]:
    """One of one's own."""
    with PrivateServer() as server:
        made = Stale(server)
        yield made
        made.close()


class Tally:
    """Notes the runs of numbered jobs, which wait for a gate."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.gate = asyncio.Event()
        self.jobs: dict[str, Any] = {"note": self.note}

    async def note(self, number: int) -> None:
        """A task."""
        self.begun.append(number)
        await asyncio.sleep(0.002)
        await self.gate.wait()


async def fill(url: str, first: int, count: int) -> None:
    """Enqueue numbered jobs."""
    async with Queue(url) as queue:
        await queue.enqueue_many([("q", "note", [n]) for n in range(first, first + count)])


async def all_is_well(url: str, tally: Tally, work: Working) -> None:
    """New jobs are worked, nothing is left on any record, and only the worker is known."""
    await fill(url, 1000, 20)
    await wait_for(lambda: set(range(1000, 1020)) <= set(tally.begun), 30)
    client: Any
    async with Redis.from_url(url) as client:

        async def settled() -> bool:
            known = await client.smembers("resque:workers")
            keys = await client.keys("resque:worker:*")
            held = [key for key in keys if not key.endswith(b":started")]
            ours = {str(each).encode() for each in work.worker.worker_ids}
            return not held and known == ours and not await client.exists("resque:queue:q")

        await wait_for(settled, 40, "nothing is held, and only the living are known")
        assert await client.zcard("resque:resqpy:processes") == 1
        assert await client.exists("resque:failed") == 0


async def gone(url: str) -> set[bytes]:
    """What is left of workers after the stop."""
    client: Any
    async with Redis.from_url(url) as client:
        return {*await client.smembers("resque:workers"), *await client.keys("resque:worker:*")}


async def test_in_the_midst_of_work(stale: Stale) -> None:
    """What was written since is lost and done again; nothing is stuck."""
    tally, url = Tally(), stale.server.url
    tally.gate.set()
    await fill(url, 0, COUNT)
    async with working(url, tally.jobs, "q", slots=5, **FAST) as work:
        await wait_for(lambda: len(tally.begun) > COUNT // 4)
        await stale.keep()
        await wait_for(lambda: len(set(tally.begun)) > COUNT // 2)
        stale.go_back()
        await wait_for(lambda: set(tally.begun) >= set(range(COUNT)), 30)
        await all_is_well(url, tally, work)
    assert await gone(url) == set()


@pytest.mark.parametrize("busy", [True, False])
async def test_before_the_process_began(stale: Stale, busy: bool) -> None:
    """It registers again, as after FLUSHALL; ends of what ran meanwhile are void, and told."""
    tally, url = Tally(), stale.server.url
    async with working(url, tally.jobs, "q", slots=3, **FAST) as work:
        if busy:
            await fill(url, 0, 3)
            await wait_for(lambda: len(tally.begun) == 3)
        reporting = work.worker.pool.reporting
        epoch = reporting.epoch
        stale.go_back()
        # else the ends may be reported on the connection that is dead, and are in doubt
        await wait_for(lambda: reporting.epoch > epoch or not reporting.exchange.line.alive)
        tally.gate.set()
        await all_is_well(url, tally, work)
        if busy:
            assert "its end is void" in work.errors
        assert "no longer knows this process" in work.errors
    assert await gone(url) == set()


async def test_slots_that_are_gone(stale: Stale) -> None:
    """Records of slots that were closed since come back: their jobs are taken back."""
    tally, url = Tally(), stale.server.url
    await fill(url, 0, 5)
    async with working(url, tally.jobs, "q", slots=5, **FAST) as work:
        await wait_for(lambda: len(tally.begun) == 5)
        await stale.keep()
        tally.gate.set()
        work.worker.pool.close_slots(4)
        await wait_for(lambda: len(work.worker.worker_ids) == 1)
        stale.go_back()
        await wait_for(lambda: len(tally.begun) == 10, 40, "all five run again")
        await all_is_well(url, tally, work)
    assert sorted(tally.begun[:10]) == sorted([*range(5), *range(5)])
    assert await gone(url) == set()


async def test_a_process_that_is_gone(stale: Stale) -> None:
    """One that had stopped in order comes back as a record: another takes its jobs back."""
    tally, url = Tally(), stale.server.url
    await fill(url, 0, 3)
    async with working(url, tally.jobs, "q", slots=3, stop_timeout_s=0.1, **FAST):
        await wait_for(lambda: len(tally.begun) == 3)
        await stale.keep()
    tally.gate.set()
    async with working(url, tally.jobs, "q", slots=2, **FAST) as work:
        await wait_for(lambda: len(tally.begun) == 6)
        stale.go_back()
        await wait_for(lambda: len(tally.begun) == 9, 40, "all three run again")
        await all_is_well(url, tally, work)
    assert await gone(url) == set()


async def test_records_that_nobody_knows(redis_url: str, redis: Any) -> None:
    """One of our shape is taken back, once; others are never touched."""
    tally = Tally()
    tally.gate.set()
    lost = WorkerId("host+3-abcd1234", "1", "q")
    record = job_records.work_prefix("q", "2026-11-21T00:00:00.000000Z") + JOB
    await redis.set(f"resque:worker:{lost}", record + job_records.work_suffix(lost.name))
    others = {
        "resque:worker:host:1:q": b'{"queue":"q","run_at":"2026","payload":' + JOB + b"}",
        "resque:worker:host+3-abcd1234:2:q": b"what?",
    }
    await redis.mset(others)
    async with (
        working(redis_url, tally.jobs, "q", **FAST),
        working(redis_url, tally.jobs, "q", **FAST),
    ):
        await wait_for(lambda: tally.begun, 40)

        async def forgotten() -> bool:
            return int(await redis.zcard("resque:resqpy:processes")) == 2

        await wait_for(forgotten, 40)
    assert tally.begun == [7]
    assert await redis.mget(*others) == [*others.values()]
