"""An enqueue that waits for replicas: confirmed, or told honestly that it is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from resqpy import Queue, RedisOptions, Store
from resqpy.base.errors import UnderReplicated
from resqpy.embedded import PrivateServer
from resqpy.tracked.verbs import Tracked
from tests.support.ports import free_port
from tests.support.waiting import wait_for

Enqueue = Callable[[Queue], Awaitable[Any]]


class Pair:
    """A master and its replica."""

    def __init__(self) -> None:
        port = free_port()
        self.master = PrivateServer(config=[f"port {port}", "repl-ping-replica-period 1"])
        self.replica = PrivateServer(config=[f"replicaof 127.0.0.1 {port}"])

    def options(self, replicas: int = 1, wait_s: float = 20.0) -> RedisOptions:
        """Of the master."""
        return RedisOptions(self.master.url, wait_replicas=replicas, wait_timeout_s=wait_s)

    def close(self) -> None:
        """End both."""
        self.replica.close()
        self.master.close()


@pytest.fixture(scope="module")
def servers() -> Iterator[Pair]:
    """Both."""
    made = Pair()
    yield made
    made.close()


@pytest.fixture
async def pair(servers: Pair) -> AsyncIterator[Pair]:
    """Empty, and in step."""
    servers.replica.resume()
    servers.master.flush()
    async with Queue(servers.master.url) as queue:

        async def in_step() -> bool:
            told = await queue.store.info("replication")
            return "state=online" in told.get("slave0", "")

        await wait_for(in_step)
    yield servers
    servers.replica.resume()


async def _now(queue: Queue) -> Any:
    return await queue.enqueue("q", "C", [1])


async def _many(queue: Queue) -> Any:
    return await queue.enqueue_many([("q", "C", [n]) for n in range(5)])


async def _later(queue: Queue) -> Any:
    return await queue.enqueue_in(600_000, "q", "C", [1])


async def _tracked(queue: Queue) -> Any:
    return await Tracked(queue.store).create("C", {})


WAYS = (_now, _many, _later, _tracked)


@pytest.mark.parametrize("enqueue", WAYS)
async def test_what_is_enqueued_is_on_the_replica(pair: Pair, enqueue: Enqueue) -> None:
    """When the enqueue returns."""
    async with Queue(pair.options()) as queue, Queue(pair.replica.url) as there:
        assert await enqueue(queue)
        kept = await queue.store.call("DBSIZE")
        assert await there.store.call("DBSIZE") == kept > 0


@pytest.mark.parametrize("enqueue", WAYS)
async def test_too_few_replicas_are_told(pair: Pair, enqueue: Enqueue) -> None:
    """It is written all the same, and that is said."""
    async with Queue(pair.options(replicas=2, wait_s=0.05)) as queue:
        with pytest.raises(UnderReplicated, match=r"of 2 replicas .* may lose it"):
            await enqueue(queue)
        assert await queue.store.call("DBSIZE") > 0


async def test_a_replica_that_hangs_holds_up_nobody_else(pair: Pair) -> None:
    """Only who waits for it waits."""
    pair.replica.pause()
    async with Queue(pair.options(wait_s=2.0)) as queue:
        waiting = asyncio.create_task(_now(queue))
        await wait_for(lambda: _length(queue))
        assert not waiting.done()
        assert await queue.store.call("PING") == b"PONG"
        with pytest.raises(UnderReplicated):
            await waiting


async def _length(queue: Queue) -> int:
    return int(await queue.store.call("LLEN", queue.store.keys.queue("q")))


async def test_what_was_forbidden_is_not_said_to_be_written(pair: Pair) -> None:
    """A duplicate that is refused needs no replica."""
    async with Queue(pair.options(replicas=2, wait_s=0.05)) as queue:
        with pytest.raises(UnderReplicated):
            await Tracked(queue.store).create("C", {}, id="one")
        with pytest.raises(Exception, match="already"):
            await Tracked(queue.store).create("C", {}, id="one")


async def test_by_itself_nobody_waits(pair: Pair) -> None:
    """One round trip, as ever."""
    pair.replica.pause()
    store = Store(RedisOptions(pair.master.url))
    async with Queue(store) as queue:
        assert await queue.enqueue("q", "C", [1])
    await store.close()
