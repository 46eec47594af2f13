"""The fence: an exchange that arrives late, or for a process that was taken for dead, takes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from resqpy.base.model import WorkerId
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions
from resqpy.store.exchange import EndCommands, Exchange, Exchanged, Fence, SlotRef
from tests.support.redis_state import dump

ME = WorkerId("h+1-abc", "7", "*")
GATES = "resque:resqpy:gates"
QUEUE = "resque:queue:q"
RECORD = f"resque:worker:{ME}"


class Process:
    """A process with one slot, whose exchanges are sent with any epoch, as delays would mix them."""

    def __init__(self, url: str) -> None:
        self.store = Store(RedisOptions(url))
        self.exchange = Exchange(self.store, incarnation="abc")
        self.calls = 0

    async def ask(self, epoch: int, *ended: EndCommands, recover: bool = False) -> Exchanged:
        """One exchange for the free slot."""
        self.calls += 1
        at = f"2026-01-01T00:00:{self.calls:02d}.000000Z"
        places = [SlotRef.of(ME)]
        return await self.exchange.run(ended, places, ["q"], at, recover=recover, epoch=epoch)


@pytest.fixture
async def process(redis_url: str, redis: Any) -> AsyncIterator[Process]:
    """A process that may take jobs, and two jobs."""
    made = Process(redis_url)
    await redis.hset(GATES, "abc", 1)
    await redis.rpush(QUEUE, b'{"class":"C","args":[1]}', b'{"class":"C","args":[2]}')
    yield made
    await made.exchange.close()
    await made.store.close()


async def test_an_exchange_that_is_late_takes_nothing(process: Process, redis: Any) -> None:
    """What was sent before a lost reply comes after the recovery: the jobs stay where they are."""
    recovered = await process.ask(2, recover=True)
    [taken] = recovered.taken
    await process.ask(2, EndCommands(str(ME), taken.claim.beginning, "p"))
    await redis.rpush(QUEUE, b'{"class":"C","args":[3]}')
    before = await dump(redis)

    late = await process.ask(1)

    assert (late.fence, late.gate, late.taken) == (Fence.AHEAD, 2, [])
    assert await dump(redis) == before


async def test_a_late_exchange_still_reports(process: Process, redis: Any) -> None:
    """An end that it brings counts, as it removes the very record of its run."""
    [taken] = (await process.ask(1)).taken
    await redis.hset(GATES, "abc", 5)

    late = await process.ask(1, EndCommands(str(ME), taken.claim.beginning, "p"))

    assert (late.fence, late.void, late.taken) == (Fence.AHEAD, [], [])
    assert await redis.get(RECORD) is None
    assert await redis.get("resque:stat:processed") == b"1"
    assert await redis.llen(QUEUE) == 1


async def test_a_process_that_was_taken_for_dead(process: Process, redis: Any) -> None:
    """Its gate is gone: nothing is taken for it, whatever epoch it says."""
    await redis.hdel(GATES, "abc")
    for epoch in (1, 9):
        asked = await process.ask(epoch, recover=True)
        assert (asked.fence, asked.gate, asked.taken) == (Fence.ABSENT, 0, [])
    assert await redis.llen(QUEUE) == 2
    assert await redis.hget(GATES, "abc") is None


@pytest.mark.parametrize("junk", ["", "x", "nan-"])
async def test_a_gate_that_is_no_number(process: Process, redis: Any, junk: str) -> None:
    """It is closed."""
    await redis.hset(GATES, "abc", junk)
    assert (await process.ask(1)).fence is Fence.ABSENT
    assert await redis.llen(QUEUE) == 2


async def test_gates_of_another_type(process: Process, redis: Any) -> None:
    """The same."""
    await redis.set(GATES, "junk")
    assert (await process.ask(1)).fence is Fence.ABSENT
    assert await redis.llen(QUEUE) == 2
