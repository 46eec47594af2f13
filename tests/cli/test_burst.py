"""`--burst` ends when the queues are empty, and not sooner, whatever happens on the way."""

from __future__ import annotations

import asyncio
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from resqpy import Queue
from resqpy.store.connection.client import script
from tests.cli.conftest import Program
from tests.cli.processes import ended
from tests.support.proxy import Proxy

SPOILS = '''
    import redis.asyncio
    from resqpy import task
    from resqpy.engine.run import current_run

    @task(queue="q")
    async def spoil(url: str) -> None:
        """Put junk on the record of the worker that runs this."""
        key = f"resque:worker:{current_run.get().worker_id}"
        async with redis.asyncio.Redis.from_url(url) as client:
            await client.delete(key)
            await client.rpush(key, "junk")
'''
COUNT = 60


async def fill(url: str, name: str = "sendMail") -> None:
    """Enqueue jobs."""
    async with Queue(url) as queue:
        await queue.enqueue_many([("q", name, [{"to": f"{n}@x"}]) for n in range(COUNT)])


@pytest.mark.parametrize("slots", ["1", "4"])
async def test_replies_that_are_lost(
    program: Program, redis: Any, redis_url: str, slots: str
) -> None:
    """What it asks after a lost reply takes nothing, which does not mean that nothing waits."""
    await fill(redis_url)
    async with Proxy(redis_url) as proxy:
        proxy.needle = script("exchange").sha.encode()
        proxy.lose_reply(1, 2, 4, 7, 12)
        proxy.cut_before(5, 9)
        worker = program("worker", "--burst", "--min", slots, "--max", slots, REDIS_URL=proxy.url)
        code, _ = await asyncio.to_thread(ended, worker)
        assert proxy.seen > 12
    assert code == 0
    assert await redis.get("resque:stat:processed") == str(COUNT).encode()
    assert not await redis.keys("resque:worker*")


async def test_a_record_that_is_junk(
    program: Program, redis: Any, redis_url: str, root: Path
) -> None:
    """The only slot is lost by it: another takes its place, and all that waits is done."""
    (root / "tasks" / "spoils.py").write_text(dedent(SPOILS))
    async with Queue(redis_url) as queue:
        await queue.enqueue("q", "spoil", [{"url": redis_url}])
    await fill(redis_url)

    worker = program("worker", "--burst", "--min", "1", "--max", "1")
    code, output = await asyncio.to_thread(ended, worker)

    assert code == 0
    assert await redis.get("resque:stat:processed") == str(COUNT).encode()
    keys = await redis.keys("resque:worker:*")
    [key] = [each for each in keys if not each.endswith(b":started")]
    assert await redis.lrange(key, 0, -1) == [b"junk"]
    assert output.count(key.decode().removeprefix("resque:worker:")) == 1
