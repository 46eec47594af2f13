"""A worker that says how late each job of one task was; jobs of another one keep it busy."""

from __future__ import annotations

import asyncio
import time

from tests.benchmarks.python.common import Params, make_worker, run, say, stdin_ends


async def noop(*_: object) -> None:
    """What keeps it busy."""


async def main(params: Params) -> None:
    """A job's argument is the second at which it is due."""
    late_ms: list[float] = []
    all_there = asyncio.Event()

    async def late(due_s: int, _: int) -> None:
        late_ms.append((time.time() - due_s) * 1000)
        if len(late_ms) == params["jobs"]:
            all_there.set()

    worker = make_worker(params, {"late": late, "noop": noop})
    await worker.start()
    say(ready=True)
    await all_there.wait()
    say(result=late_ms)
    await stdin_ends()
    await worker.stop()


if __name__ == "__main__":
    run(main)
