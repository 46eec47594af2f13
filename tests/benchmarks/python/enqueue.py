"""Enqueues: awaited one by one, many at once, or by `enqueue_many`; says how many a second."""

from __future__ import annotations

import asyncio
import time

from resqpy import Queue
from tests.benchmarks.python.common import Params, options, run, say

AT_ONCE = 1_000


async def single(queue: Queue, jobs: int) -> None:
    """Each awaited before the next."""
    for number in range(jobs):
        await queue.enqueue("default", "noop", [number])


async def gathered(queue: Queue, jobs: int) -> None:
    """A thousand at a time."""
    for start in range(0, jobs, AT_ONCE):
        numbers = range(start, min(start + AT_ONCE, jobs))
        await asyncio.gather(*(queue.enqueue("default", "noop", [n]) for n in numbers))


async def many(queue: Queue, jobs: int) -> None:
    """Ten thousand a call."""
    for start in range(0, jobs, 10_000):
        numbers = range(start, min(start + 10_000, jobs))
        await queue.enqueue_many([("default", "noop", [n]) for n in numbers])


WAYS = {"single": single, "gathered": gathered, "many": many}


async def main(params: Params) -> None:
    """A short run to warm up, then the measured one."""
    async with Queue(options(params)) as queue:
        way = WAYS[params["way"]]
        await way(queue, min(500, params["jobs"]))
        start = time.perf_counter()
        await way(queue, params["jobs"])
        say(result=params["jobs"] / (time.perf_counter() - start))


if __name__ == "__main__":
    run(main)
