"""Redis goes away in every way it can: workers go on by themselves and lose nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy import Queue
from resqpy.base.errors import StoreError
from resqpy.embedded import PrivateServer
from resqpy.store.connection.client import script
from tests.support.proxy import Proxy
from tests.support.waiting import wait_for
from tests.support.working import Working, working

COUNT = 1000


@pytest.fixture
def server() -> Iterator[PrivateServer]:
    """A Redis of one's own, which may be killed and paused; what it wrote it keeps."""
    with PrivateServer(persistent=True) as made:
        yield made


class Tally:
    """Counts the runs of numbered jobs. Every tenth fails."""

    def __init__(self) -> None:
        self.ran: list[int] = []
        self.jobs = {"note": self.note}

    async def note(self, number: int) -> None:
        """A task."""
        await asyncio.sleep(0.002)
        self.ran.append(number)
        if number % 10 == 0:
            raise ValueError(number)


async def fill(url: str, start: int = 0, count: int = COUNT) -> None:
    """Enqueue numbered jobs."""
    async with Queue(url) as queue:
        await queue.enqueue_many([("q", "note", [n]) for n in range(start, start + count)])


async def check(url: str, tally: Tally, work: Working, *, twice: int = 0) -> None:
    """Each job ran once (or twice, where the server was not told of the end), and Redis knows it."""
    client: Any
    async with Redis.from_url(url) as client:
        await wait_for(lambda: len(set(tally.ran)) == COUNT, 20)

        async def settled() -> bool:
            return not await client.keys("resque:worker:*:q") and not await client.llen(
                "resque:queue:q"
            )

        await wait_for(settled, 20)
        failed = [json.loads(raw) for raw in await client.lrange("resque:failed", 0, -1)]
        numbers = sorted(entry["payload"]["args"][0] for entry in failed)
        processed = int(await client.get("resque:stat:processed") or 0)
    assert len(tally.ran) <= COUNT + twice
    assert sorted(set(numbers)) == list(range(0, COUNT, 10))
    if not twice:
        assert (len(numbers), processed) == (COUNT // 10, COUNT * 9 // 10)


async def half_way(tally: Tally) -> None:
    """Wait until some have run."""
    before = len(tally.ran)
    await wait_for(lambda: len(tally.ran) > before + 100)


@pytest.mark.promise("reply lost", "plain")
async def test_lost_replies_lose_and_double_nothing(redis_url: str) -> None:
    """Replies of exchanges get lost, and exchanges before they are sent: each job runs once."""
    await fill(redis_url)
    tally = Tally()
    async with Proxy(redis_url) as proxy:
        proxy.needle = script("exchange").sha.encode()
        proxy.lose_reply(1, 2, 5, 9, 20, 33, 34)
        proxy.cut_before(3, 12, 40)
        async with working(proxy.url, tally.jobs, "q", slots=20) as work:
            await check(redis_url, tally, work)
    assert len(work.args("error")) >= 9
    assert "void" not in work.errors
    assert work.ended == COUNT


async def test_silence_and_resets_lose_and_double_nothing(redis_url: str) -> None:
    """Half-open connections and cut ones: it goes on when Redis can be heard again."""
    await fill(redis_url)
    tally = Tally()
    async with Proxy(redis_url) as proxy:
        options = {"reply_timeout_s": 0.2, "connect_timeout_s": 0.2}
        async with working(proxy.url, tally.jobs, "q", slots=20, redis=options) as work:
            for _ in range(3):
                await half_way(tally)
                proxy.silence()
                await wait_for(lambda: work.errors.count("connection") > 0)
                work.told.clear()
                proxy.speak()
                await half_way(tally)
                proxy.reset()
            await check(redis_url, tally, work)


@pytest.mark.promise("redis stands still", "plain")
async def test_a_paused_server(server: PrivateServer) -> None:
    """A server that stands still for a while is waited for; what ended meanwhile is reported."""
    await fill(server.url)
    tally = Tally()
    soon = {"reply_timeout_s": 1.0}
    async with working(server.url, tally.jobs, "q", slots=20, redis=soon) as work:
        await half_way(tally)
        server.pause()
        await wait_for(lambda: work.errors)
        server.resume()
        await check(server.url, tally, work)


@pytest.mark.promise("redis killed", "plain")
async def test_a_killed_server_that_comes_back(server: PrivateServer) -> None:
    """A server that is killed and started again, its data on disk: nothing is lost or doubled."""
    await fill(server.url)
    tally = Tally()
    async with working(server.url, tally.jobs, "q", slots=20, heartbeat_s=0.2) as work:
        for _ in range(2):
            await half_way(tally)
            server.kill()
            await wait_for(lambda: "cannot reach" in work.errors)
            server.start()
            work.told.clear()
        await check(server.url, tally, work)


async def test_killed_clients_and_forgotten_scripts(server: PrivateServer) -> None:
    """CLIENT KILL of all connections, SCRIPT FLUSH: it goes on."""
    await fill(server.url)
    tally = Tally()
    client: Any
    async with (
        Redis.from_url(server.url) as client,
        working(server.url, tally.jobs, "q", slots=20) as work,
    ):
        for _ in range(3):
            await half_way(tally)
            await client.execute_command("CLIENT", "KILL", "SKIPME", "yes", "TYPE", "normal")
            await client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            await half_way(tally)
            await client.script_flush()
        await check(server.url, tally, work)


@pytest.mark.parametrize("trouble", ["READONLY", "BUSY", "OOM"])
async def test_a_server_that_refuses_for_a_while(server: PrivateServer, trouble: str) -> None:
    """A replica, a busy script, no memory: told as errors, and done when it is over."""
    await fill(server.url)
    tally = Tally()
    client: Any
    async with (
        Redis.from_url(server.url) as client,
        working(server.url, tally.jobs, "q", slots=20) as work,
    ):
        await half_way(tally)
        if trouble == "READONLY":
            await client.execute_command("REPLICAOF", "127.0.0.1", "1")
            await wait_for(lambda: "READONLY" in work.errors)
            await client.execute_command("REPLICAOF", "NO", "ONE")
        elif trouble == "BUSY":
            await client.config_set("lua-time-limit", 20)
            endless = asyncio.ensure_future(client.eval("while true do end", 0))
            await wait_for(lambda: "BUSY" in work.errors)
            async with Redis.from_url(server.url) as other:
                await other.script_kill()
            await asyncio.wait([endless])
            endless.exception()
        else:
            await client.config_set("maxmemory", 1)
            with pytest.raises(StoreError, match="OOM"):
                await fill(server.url, COUNT, 1)
            await half_way(tally)
            await client.config_set("maxmemory", 0)
        await check(server.url, tally, work)


async def test_a_flush_is_survived(redis_url: str, redis: Any) -> None:
    """After FLUSHALL the heartbeat registers the workers again, and new jobs are worked at once."""
    tally = Tally()
    async with working(redis_url, tally.jobs, "*", heartbeat_s=0.1, timeout_s=60) as work:
        [worker_id] = map(str, work.worker.worker_ids)
        await redis.flushall()

        async def registered() -> bool:
            started = await redis.exists(f"resque:worker:{worker_id}:started")
            return bool(started and await redis.sismember("resque:workers", worker_id))

        await wait_for(registered)
        await fill(redis_url, 1, 3)
        await work.until(3)


async def test_it_starts_only_where_redis_is_and_says_why(redis_url: str) -> None:
    """A worker whose Redis can't be reached says so when the time of a start is over."""
    with pytest.raises(StoreError):
        async with working("unix:///nowhere.sock", {}, "q", redis={"startup_timeout_s": 0.3}):
            pass


@pytest.mark.parametrize("number", range(1, 6))
async def test_a_start_whose_replies_get_lost(redis_url: str, redis: Any, number: int) -> None:
    """The connection breaks in the middle of a start, which goes on; no slot is left behind."""
    tally = Tally()
    async with Proxy(redis_url) as proxy:
        proxy.lose_reply(number)
        proxy.cut_before(number + 1)
        async with working(proxy.url, tally.jobs, "q", slots=3) as work:
            assert await redis.smembers("resque:workers") == {
                str(each).encode() for each in work.worker.worker_ids
            }
            await fill(redis_url, 1, 9)
            await wait_for(lambda: len(tally.ran) == 9)
    assert await redis.smembers("resque:workers") == set()


async def test_a_stop_while_redis_is_away_returns(server: PrivateServer) -> None:
    """The jobs stay on record, and the stop comes to an end."""
    gate = asyncio.Event()

    async def wait() -> None:
        await gate.wait()

    async with Queue(server.url) as queue:
        await queue.enqueue("q", "wait")
    options: dict[str, Any] = {"stop_timeout_s": 0.1, "cancel_timeout_s": 0.1}
    async with working(server.url, {"wait": wait}, "q", **options) as work:
        await wait_for(lambda: work.args("job"))
        server.kill()
    assert "cannot reach" in work.errors
    server.start()
    client: Any
    async with Redis.from_url(server.url) as client:
        assert len(await client.keys("resque:worker:*:q")) == 1
