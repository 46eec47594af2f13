"""An idle worker that says how long each job had waited since it was pushed."""

from __future__ import annotations

import asyncio
import time

from tests.benchmarks.python.common import Params, make_worker, run, say, stdin_ends


async def main(params: Params) -> None:
    """The job's argument is the time of the push, ns of the machine's monotonic clock."""
    waited_ms: list[float] = []
    all_there = asyncio.Event()

    async def noop(pushed_ns: str) -> None:
        waited_ms.append((time.monotonic_ns() - int(pushed_ns)) / 1e6)
        say(ran=len(waited_ms))
        if len(waited_ms) == params["jobs"]:
            all_there.set()

    worker = make_worker(params, {"noop": noop})
    await worker.start()
    say(ready=True)
    await all_there.wait()
    say(result=waited_ms)
    await stdin_ends()
    await worker.stop()


if __name__ == "__main__":
    run(main)
