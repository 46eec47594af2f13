"""Periodic tasks in a process of their own, to be killed; the orders are those of `scheduler_main`.

With the option `worker` it works the task `tick`, too. Each run notes its beginning and its end in the
list `ran`, with the time for which it was enqueued.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from resqpy.engine.options import WorkerOptions
from resqpy.engine.run import current_run
from resqpy.engine.worker.worker import Worker
from resqpy.framework.api.scheduler import Scheduler
from resqpy.framework.config.sections import SchedulerOptions
from resqpy.store.connection.line import Line
from resqpy.store.connection.translation import Command
from tests.support import scheduler_main
from tests.support.scheduler_main import EVENTS, Hooks, SteppingStore, Steps, say

RAN = "ran"
TICK_MS = 40


class SteppingPeriodicStore(SteppingStore):
    """Dies at pipelines as well."""

    async def pipeline(self, commands: Sequence[Command], line: Line | None = None) -> list[Any]:
        self._steps.take()
        return await super().pipeline(commands, line)


async def tick(*_: Any) -> None:
    """A task that takes a moment."""
    run = current_run.get()
    planned = run.scheduled_at
    at = "by hand" if planned is None else str(round(planned.timestamp() * 1000))
    await run.store.call("RPUSH", RAN, f"begin {at}")
    await asyncio.sleep(0.01)
    await run.store.call("RPUSH", RAN, f"end {at}")


JOBS: dict[str, Any] = {
    "tick": {"perform": tick, "frequency": TICK_MS, "queue": "q"},
    "cron": {"perform": tick, "cron": "* * * * * *", "queue": "c"},
    "hooked": {"perform": tick, "cron": "*/2 * * * * *", "queue": "h", "plugins": [Hooks]},
}


async def live(url: str, options: dict[str, Any], last_step: int | None) -> None:
    """Schedule and work until somebody kills us."""
    chosen = dict(options)
    works = chosen.pop("worker", False)
    Hooks.steps = Steps(last_step)
    store = SteppingPeriodicStore(url, Hooks.steps)
    scheduler = Scheduler(store, JOBS, SchedulerOptions(**chosen))
    for event in EVENTS:
        scheduler.on(event, lambda event=event: say(event))
    scheduler.on("error", lambda error: say("error", repr(error)))
    await scheduler.start()
    if works:
        await Worker(store, JOBS, ["q"], WorkerOptions(heartbeat_s=0.2)).start()
    await scheduler.wait()


if __name__ == "__main__":
    scheduler_main.live = live
    scheduler_main.main()
