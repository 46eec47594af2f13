"""What our measured programs share; imports little, because their memory is measured too."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from resqpy import MultiWorker, RedisOptions, ScalingOptions, Worker

Params = dict[str, Any]


def options(params: Params) -> RedisOptions:
    """The Redis of the run."""
    return RedisOptions(url=f"unix://{params['socket']}?db=0")


def make_worker(params: Params, jobs: Mapping[str, Any]) -> Worker | MultiWorker:
    """A worker with `processors` slots; without that parameter a `Worker` as it is by default."""
    queues = params.get("queues", ["default"])
    slots = params.get("processors")
    if slots is None:
        return Worker(options(params), jobs, queues)
    low, high = slots if isinstance(slots, list) else (slots, slots)
    scaling = ScalingOptions(min_task_processors=low, max_task_processors=high)
    return MultiWorker(options(params), jobs, queues, scaling=scaling)


def say(**message: Any) -> None:
    """Tell the runner."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


async def stdin_ends() -> None:
    """Wait until the runner lets us go."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def look() -> None:
        if not os.read(0, 1):
            loop.remove_reader(0)
            ended.set()

    loop.add_reader(0, look)
    await ended.wait()


def run(main: Callable[[Params], Awaitable[None]]) -> None:
    """Run a program with its parameters."""

    async def start() -> None:
        await main(json.loads(sys.argv[1]))

    asyncio.run(start())
