"""A worker process that kills itself at one of its steps towards Redis.

`python -m tests.tracked.victim URL STEP CREATE`: a step is just before a batch of commands is sent,
or just before a reply is heard, on any of its connections; nothing else that it does can be seen from
outside. Without a kill it ends by itself when its queue has been quiet. `CREATE`, if it is not empty,
is the id of a task that it creates itself, after the steps began to count.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

from resqpy.engine.run import current_run
from resqpy.store.connection.client import Store
from resqpy.store.connection.line import Line
from resqpy.store.connection.options import RedisOptions
from resqpy.tracked.active import ActiveTask
from resqpy.tracked.creating import CreateOptions
from resqpy.tracked.delivery import definition_of
from resqpy.tracked.verbs import Tracked
from tests.tracked.support import KEYS, Workshop

QUEUE = "victim"
STARTED = "started"  # a Redis list: every start of a handler


def die_at(step: int) -> None:
    """Kill this process at a step."""
    steps = iter(range(10**9))
    flush, on_replies = Line._flush, Line._on_replies

    def look() -> None:
        if next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def flush_and_count(self: Line) -> None:
        if self._waiting:
            look()
        flush(self)

    def count_and_hear(self: Line, wire: Any, replies: list[Any]) -> None:
        look()
        on_replies(self, wire, replies)

    Line._flush = flush_and_count  # type: ignore[method-assign]
    Line._on_replies = count_and_hear  # type: ignore[method-assign]


async def handler(task: ActiveTask) -> Any:
    """What the payload says."""
    store: Store = current_run.get().store
    await store.call("RPUSH", STARTED, task.id)
    how = task.payload.get("how")
    if how in _HOW:
        await _HOW[how](task)
    return how


async def _explicit(task: ActiveTask) -> None:
    task.payload["seen"] = True
    await task.save()
    await task.complete()


async def _raise_once(task: ActiveTask) -> None:
    if task.attempts == 0:
        raise ValueError("once more")


async def _retry_once(task: ActiveTask) -> None:
    if task.attempts == 0:
        await task.retry(ValueError("once more"), 1)


async def _again(task: ActiveTask) -> None:
    if task.runs == 0:
        await task.complete(1)


async def _defer_once(task: ActiveTask) -> None:
    if task.deliveries == 0:
        await task.defer(1)


async def _release_once(task: ActiveTask) -> None:
    if task.deliveries == 0:
        await task.release()


async def _fail(task: ActiveTask) -> None:
    await task.fail(ValueError("for good"))


async def _delete(task: ActiveTask) -> None:
    await task.delete()


async def _slow(_: ActiveTask) -> None:
    await asyncio.sleep(0.7)  # the lock is renewed meanwhile


async def _cancelled(_: ActiveTask) -> None:
    run = current_run.get()
    run.worker.cancel(str(run.worker_id))
    await asyncio.sleep(5)


_HOW = {
    "explicit": _explicit, "retry": _raise_once, "said retry": _retry_once, "linked": _raise_once,
    "again": _again, "defer": _defer_once, "release": _release_once, "fail": _fail,
    "delete": _delete, "slow": _slow, "cancel": _cancelled,
}  # fmt: skip


async def main(url: str, step: int, create: str) -> None:
    """Work until the queue has been quiet for a while."""
    store = Store(RedisOptions(url))
    await store.connect()
    definition = definition_of("job", handler)
    die_at(step)
    if create:
        options: CreateOptions = {"id": create, "queue": QUEUE, "lock_duration": 300}
        options |= {"retries": 5, "backoff": 1}
        await Tracked(store).create("job", {"how": "create"}, **options)
    async with Workshop(store, {"job": definition}, slots=2, queues=QUEUE) as shop:
        for _ in range(200):
            await asyncio.sleep(0.01)
            busy = shop.worker.pool.slots.busy
            if not busy and not await store.call("EXISTS", KEYS.queue(QUEUE)):
                break
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
