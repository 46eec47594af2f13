"""Drains tracked tasks that are there already: what a record costs beside an untracked job."""

from __future__ import annotations

import asyncio
import time

from resqpy.engine.definition import definitions
from resqpy.store.connection.client import Store
from resqpy.tracked.delivery import Deliveries, with_tracking
from resqpy.tracked.processing import LockKeeper
from resqpy.tracked.verbs import Tracked
from tests.benchmarks.python.common import Params, make_worker, options, run, say, stdin_ends
from tests.benchmarks.python.drain import Watch

_AT_ONCE = 500


async def create(store: Store, count: int) -> tuple[float, float]:
    """Create tasks; how many a second, and bytes of memory for each, its waiting job included."""
    tracked = Tracked(store)
    await tracked.create("noop", {"n": 0})
    before, start = await _memory(store), time.perf_counter()
    for at in range(1, count, _AT_ONCE):
        step = min(_AT_ONCE, count - at)
        await asyncio.gather(*(tracked.create("noop", {"n": at + n}) for n in range(step)))
    seconds = time.perf_counter() - start
    return (count - 1) / seconds, (await _memory(store) - before) / (count - 1)


async def _memory(store: Store) -> int:
    return int((await store.info("memory"))["used_memory"])


async def main(params: Params) -> None:
    """Create, then drain in the same process; the worker starts when all tasks are there."""
    jobs, slots = params["jobs"], params["processors"]
    store = Store(options(params))
    await store.connect()
    created, memory = await create(store, jobs)
    watch = Watch(jobs, slots)
    keeper = LockKeeper(store.options)
    tasks = with_tracking(definitions({"noop": watch.perform}), Deliveries(keeper))
    worker = make_worker(params, tasks)
    await worker.start()
    await watch.all_done.wait()
    result = {"rate": watch.rate, "created": created, "memory": memory}
    say(ready=True, result=result)
    await stdin_ends()
    await worker.stop()
    keeper.close()
    await store.close()


if __name__ == "__main__":
    run(main)
