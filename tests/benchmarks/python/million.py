"""A large queue: fills it, lists pages, deletes by arguments, clears; says the seconds of each."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import Any

from resqpy import Queue
from resqpy.engine.inspect.waiting_jobs import WaitingJobs
from tests.benchmarks.python.common import Params, options, run, say, stdin_ends
from tests.benchmarks.python.enqueue import many

PAGE = 50


class Clock:
    """Times steps by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    async def time(self, name: str, step: Awaitable[Any]) -> Any:
        """Await a step, and its result."""
        start = time.perf_counter()
        result = await step
        self.seconds[name] = time.perf_counter() - start
        return result


async def main(params: Params) -> None:
    """The steps; the runner looks at the server's memory after `filled`, and lets us go on."""
    clock, jobs = Clock(), params["jobs"]
    async with Queue(options(params)) as queue:
        await queue.connect()
        await clock.time("fill", many(queue, jobs))
        say(filled=True)
        if params.get("fill_only"):
            await stdin_ends()
            return
        inspector = WaitingJobs(queue)
        await clock.time("length", inspector.length("default"))
        await clock.time("first page", inspector.queued("default", 0, PAGE - 1))
        middle = jobs // 2
        await clock.time(
            "page in the middle", inspector.queued("default", middle, middle + PAGE - 1)
        )
        deleted = await clock.time("delete by arguments", queue.delete("default", "noop", [7]))
        # ten thousand in a call: each ten thousand counts its arguments from its own beginning
        assert deleted >= 1, deleted
        cleared = await clock.time("clear", queue.del_queue("default"))
        assert cleared == jobs - deleted, cleared
        say(result=clock.seconds)
        await stdin_ends()


if __name__ == "__main__":
    run(main)
