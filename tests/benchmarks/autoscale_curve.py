"""How many task processors a MultiWorker has over time, under three real loads.

    python -m tests.benchmarks.autoscale_curve [--quick]

With jobs that wait it reaches the most, with jobs that compute it stays at the least, and with both
it settles. Each line is a decision unlike the one before: time, size, verb, and the reason.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from resqpy import MultiWorker, Queue, ScalingOptions, WorkerOptions
from resqpy.embedded import PrivateServer

LEAST, MAXIMUM = 1, 100
BACKLOG = 50_000

Job = Callable[[int], Awaitable[None]]


@dataclass(frozen=True)
class Step:
    """One decision of the autoscaler, and the size before it."""

    seconds: float
    size: int
    verb: str
    reason: str


async def wait(_: int) -> None:
    """A job that waits for somebody else."""
    await asyncio.sleep(0.05)


async def compute(_: int) -> None:
    """A job that blocks the loop for 15 ms."""
    end = time.perf_counter() + 0.015
    while time.perf_counter() < end:
        pass


async def both(number: int) -> None:
    """One job in twenty computes, the others wait: a hundred at once would be too many."""
    await (wait(number) if number % 20 else compute(number))


LOADS: dict[str, Job] = {"waiting": wait, "computing": compute, "mixed": both}


async def curve(url: str, job: Job, seconds: float, check_s: float = 0.5) -> list[Step]:
    """Run one load for some time on an empty Redis, and give back the decisions."""
    steps: list[Step] = []
    async with Queue(url) as queue:
        await queue.enqueue_many([("load", "job", [n]) for n in range(1, BACKLOG)])
        worker = MultiWorker(
            url, {"job": job}, "load",
            WorkerOptions(stop_timeout_s=0.2),
            ScalingOptions(LEAST, MAXIMUM, check_s=check_s),
        )  # fmt: skip
        began = time.perf_counter()

        def note(verb: str, _: float, reason: str) -> None:
            now = time.perf_counter() - began
            steps.append(Step(now, worker.pool.slots.size, verb, reason))

        worker.on("multi_worker_action", note)
        async with worker:
            await asyncio.sleep(seconds)
        await queue.del_queue("load")
    return [step for step in steps if step.verb != "--"]


async def main(seconds: float) -> None:
    """Print the curves."""
    with PrivateServer() as server:
        for name, job in LOADS.items():
            print(f"\n{name} jobs, {LEAST} to {MAXIMUM} task processors")
            steps = await curve(server.url, job, seconds)
            for before, step in zip([None, *steps], steps, strict=False):
                if before is None or (before.size, before.verb) != (step.size, step.verb):
                    bar = "#" * step.size
                    print(f"{step.seconds:5.1f} s {step.size:3} {step.verb} {bar} {step.reason}")
            print(f"{steps[-1].seconds:5.1f} s {steps[-1].size:3}")


if __name__ == "__main__":
    asyncio.run(main(6.0 if "--quick" in sys.argv[1:] else 20.0))
