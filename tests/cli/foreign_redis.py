"""The Redis of the tour: real Node programs at work on it, beside what Ruby's programs left."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis

from tests.support import recordings
from tests.support.foreign import NodeDriver, Target
from tests.support.waiting import wait_for

NAME = "node-host"  # in the names of Node's workers; their pid is shown as PID
PID = "5001"
FAR_MS = 4_070_908_800_000  # 2099
HOUR_MS = 3_600_000
LONG = "a very long argument, as some people have them, " * 8


@asynccontextmanager
async def at_work(url: str) -> AsyncIterator[NodeDriver]:
    """Fill a Redis; Node's workers and scheduler live as long as this block."""
    async with Redis.from_url(url) as redis:
        await recordings.replay(redis, "ruby-installation")
        async with NodeDriver(Target.from_url(url)) as node:
            await _failures(node, redis)
            await _waiting(node)
            await _delayed(node)
            await _running(node, redis)
            yield node


async def _failures(node: NodeDriver, redis: Any) -> None:
    """Node's shapes of failed jobs, one after the other; Ruby's are there already."""
    before = await redis.llen("resque:failed")
    for name, args in (
        ("fail", ["no route to host"]), ("throwString", ["just a text"]), ("noStack", ["out of range"]),
        ("nobodyKnowsThis", [{"id": 7}]), ("fail", ["la carte était refusée 💳"]),
    ):  # fmt: skip
        await node.call("queue.enqueue", "billing", name, args)
    await node.call("worker.start", {"queues": ["billing"], "name": f"{NAME}:billing"})

    async def all_failed() -> bool:
        return bool(await redis.llen("resque:failed") == before + 5)

    await wait_for(all_failed)
    await node.call("worker.stop")


async def _waiting(node: NodeDriver) -> None:
    for args in (
        [1],
        [1],
        [{"to": "ada@example.com", "tags": []}],
        ["Grüße 👋", None, 1.5],
        [LONG],
    ):
        await node.call("queue.enqueue", "reports", "echo", args)
    await node.call("queue.enqueue", "reports", "noop", [])
    await node.call("queue.enqueue", "reports", "withQueueLock", [{"month": 11}])


async def _delayed(node: NodeDriver) -> None:
    await node.call("queue.enqueueAt", FAR_MS, "reports", "echo", ["in 2099"])
    await node.call("queue.enqueueAt", FAR_MS + HOUR_MS, "mail", "noop", [])
    await node.call("queue.enqueueAt", FAR_MS + HOUR_MS, "mail", "echo", [{"to": "bob"}])


async def _running(node: NodeDriver, redis: Any) -> None:
    """A MultiWorker with two busy workers, one of them under a JobLock, and the leader."""
    await node.call("define", {"name": "charge", "perform": "sleep", "plugins": ["JobLock"]})
    await node.call("queue.enqueue", "mail", "charge", [HOUR_MS])
    await node.call("queue.enqueue", "mail", "sleep", [HOUR_MS])
    await node.call(
        "multiWorker.start",
        {"queues": ["mail"], "name": NAME, "minTaskProcessors": 2, "maxTaskProcessors": 2},
    )
    await node.call("scheduler.start", {"name": f"{NAME}:{node.pid}"})

    async def ready() -> bool:
        began = await redis.llen("interop:began")
        return bool(began == 2 and await redis.exists("resque:resque_scheduler_leader_lock"))

    await wait_for(ready)


def steady(text: str, node: NodeDriver) -> str:
    """A text without this machine's name and Node's pid."""
    return text.replace(str(node.pid), PID).replace(socket.gethostname(), "this-host")
