"""A worker process that kills itself at one of its steps towards Redis.

`python -m tests.tracked.victim URL STEP`: a step is just before a batch of commands is sent, or just
before a reply is heard. Without a kill it ends by itself when its queue has been quiet.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

from resqpy.engine.run import current_run
from resqpy.engine.tracked.active import ActiveTask
from resqpy.framework.listener import definition_of
from resqpy.store.client import Store
from resqpy.store.line import Line
from resqpy.store.options import RedisOptions
from tests.tracked.support import KEYS, Workshop

QUEUE = "victim"
STARTED = "started"  # a Redis list: every start of a handler


def die_at(step: int) -> None:
    """Kill this process at a step."""
    steps = iter(range(10**9))
    flush, on_reply = Line._flush, Line._on_reply

    def look() -> None:
        if next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def flush_and_count(self: Line) -> None:
        if self._waiting:
            look()
        flush(self)

    def count_and_hear(self: Line, wire: Any, reply: Any) -> None:
        look()
        on_reply(self, wire, reply)

    Line._flush = flush_and_count  # type: ignore[method-assign]
    Line._on_reply = count_and_hear  # type: ignore[method-assign]


async def handler(task: ActiveTask) -> Any:
    """What the payload says."""
    store: Store = current_run.get().store
    await store.call("RPUSH", STARTED, task.id)
    how = task.payload.get("how")
    if how == "explicit":
        task.payload["seen"] = True
        await task.save()
        await task.complete()
    elif how == "retry" and task.attempts == 0:
        raise ValueError("once more")
    elif how == "again" and task.runs == 0:
        await task.complete(1)
    return how


async def main(url: str, step: int) -> None:
    """Work until the queue has been quiet for a while."""
    store = Store(RedisOptions(url))
    await store.connect()
    definition = definition_of("job", handler)
    die_at(step)
    async with Workshop(store, {"job": definition}, slots=2, queues=QUEUE) as shop:
        for _ in range(200):
            await asyncio.sleep(0.01)
            busy = shop.worker.pool.slots.busy
            if not busy and not await store.call("EXISTS", KEYS.queue(QUEUE)):
                break
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
