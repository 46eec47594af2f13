"""Jobs that were lost with their worker twice run alone in their process."""

from __future__ import annotations

import asyncio

from redis.asyncio import Redis

from resqpy import MultiWorker, Queue, RedisOptions, ScalingOptions, WorkerOptions
from resqpy.base import codec
from tests.support.waiting import wait_for


class Yard:
    """A process with four slots whose jobs tell who runs beside them."""

    def __init__(self, url: str) -> None:
        self.running: set[str] = set()
        self.beside: dict[str, set[str]] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.options = RedisOptions(url=url)
        self.worker = MultiWorker(
            self.options,
            {"Work": self.work},
            "mail",
            options=WorkerOptions(stop_timeout_s=0, cancel_timeout_s=1),
            scaling=ScalingOptions(min_task_processors=4, max_task_processors=4),
        )

    async def work(self, name: str) -> None:
        """Run until the gate of that name is open."""
        self.beside[name] = set(self.running)
        for other in self.running:
            self.beside[other].add(name)
        self.running.add(name)
        await self.gates.setdefault(name, asyncio.Event()).wait()
        self.running.discard(name)

    def open(self, *names: str) -> None:
        """Let jobs end."""
        for name in names:
            self.gates.setdefault(name, asyncio.Event()).set()

    async def enqueue(self, *names: str) -> None:
        """Put jobs into the queue."""
        async with Queue(self.options) as queue:
            await queue.enqueue_many([("mail", "Work", [name]) for name in names])


def digest(name: str) -> str:
    """Under which the rescues of a job are counted."""
    return codec.digest(codec.encode_job("Work", "mail", [name]))


async def test_a_suspect_waits_until_it_is_alone(redis_url: str, redis: Redis) -> None:
    """It begins when all others have ended, nothing is taken meanwhile, and then all goes on."""
    yard = Yard(redis_url)
    await redis.hset("resque:resqpy:rescues", digest("suspect"), "2/1")
    await yard.enqueue("a", "suspect", "b")
    async with yard.worker:
        await wait_for(lambda: yard.running == {"a", "b"})
        await yard.enqueue("later")
        yard.open("a")
        await wait_for(lambda: yard.running == {"b"})
        assert await redis.llen("resque:queue:mail") == 1
        yard.open("b")
        await wait_for(lambda: yard.running == {"suspect"})
        assert await redis.llen("resque:queue:mail") == 1
        yard.open("suspect")
        await wait_for(lambda: yard.running == {"later"})
        assert await redis.hlen("resque:resqpy:rescues") == 0
        yard.open("later")
        await wait_for(lambda: not yard.running)
    assert yard.beside["suspect"] == set()


async def test_a_job_lost_once_runs_beside_others(redis_url: str, redis: Redis) -> None:
    """One loss is no suspicion; its count is forgotten when it ends."""
    yard = Yard(redis_url)
    await redis.hset("resque:resqpy:rescues", digest("a"), "1/1")
    await yard.enqueue("a", "b")
    async with yard.worker:
        await wait_for(lambda: yard.running == {"a", "b"})
        yard.open("a", "b")

        async def forgotten() -> bool:
            return await redis.hlen("resque:resqpy:rescues") == 0

        await wait_for(forgotten)


async def test_a_note_of_somebody_else_s_making_is_no_count(redis_url: str, redis: Redis) -> None:
    """Junk in the place of a count harms neither the worker nor the job."""
    yard = Yard(redis_url)
    await redis.hset("resque:resqpy:rescues", digest("a"), "what?")
    await yard.enqueue("a")
    async with yard.worker:
        await wait_for(lambda: yard.running == {"a"})
        yard.open("a")


async def test_a_stop_returns_what_waits_and_keeps_its_count(redis_url: str, redis: Redis) -> None:
    """A suspect that never began goes back to its queue, and is still a suspect."""
    yard = Yard(redis_url)
    await redis.hset("resque:resqpy:rescues", digest("suspect"), "2/1")
    await yard.enqueue("a", "suspect")
    async with yard.worker:
        await wait_for(lambda: yard.running == {"a"})
    queued = await redis.lrange("resque:queue:mail", 0, -1)
    assert queued == [codec.encode_job("Work", "mail", [name]) for name in ("a", "suspect")]
    assert await redis.hget("resque:resqpy:rescues", digest("suspect")) == b"2/1"
