"""Looks into a large backlog of delayed jobs; says the seconds of each look."""

from __future__ import annotations

from resqpy import Queue
from resqpy.engine.inspect.waiting_jobs import WaitingJobs
from tests.benchmarks.python.common import Params, options, run, say
from tests.benchmarks.python.million import Clock


async def main(params: Params) -> None:
    """Count, and list the beginning."""
    clock = Clock()
    async with Queue(options(params)) as queue:
        await queue.connect()
        inspector = WaitingJobs(queue)
        await clock.time("count", inspector.delayed_count())
        seconds = await clock.time("list 1,000 of its seconds", inspector.timestamps())
        await clock.time("list 100 jobs of a second", inspector.delayed_at(seconds[0]))
        await clock.time(
            "find one by its arguments", inspector.scheduled_at("default", "noop", [7])
        )
    say(result=clock.seconds)


if __name__ == "__main__":
    run(main)
