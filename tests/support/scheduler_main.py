"""A scheduler in a process of its own, to be killed and frozen: `python -m …scheduler_main JSON`.

    url       Redis
    options   of SchedulerOptions
    small     whether to take small batches: more places to die at
    deaths    how the first lives end, one after the other, each in a fork of its own:
              {"step": n}: kill -9 at the n-th await of a chore, {"ms": t}: kill -9 after so long.
              Then it lives until it is killed or its stdin ends.

Its tasks: Hooked has enqueue hooks, Locked has a QueueLock, all others are unknown. What it tells
by events goes to stdout as JSON lines.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from resqpy.engine.plugin import Enqueuing, Plugin
from resqpy.framework.api.scheduler import Scheduler
from resqpy.framework.config.sections import SchedulerOptions
from resqpy.plugins.locks import QueueLock
from resqpy.store import delayed
from resqpy.store.connection.client import Arg, Store
from resqpy.store.connection.line import Line
from resqpy.store.connection.options import RedisOptions

EVENTS = ("start", "end", "leader", "follower")


class Steps:
    """Counts awaits, and ends the process at one of them."""

    def __init__(self, last: int | None) -> None:
        self._count = itertools.count(1)
        self._last = last

    def take(self) -> None:
        """Another step."""
        if next(self._count) == self._last:
            os.kill(os.getpid(), signal.SIGKILL)


class SteppingStore(Store):
    """Dies before and after calls; the election has its own line and is not counted."""

    def __init__(self, url: str, steps: Steps) -> None:
        super().__init__(RedisOptions(url=url))
        self._steps = steps

    async def run(
        self, name: str, keys: Sequence[Arg], args: Sequence[Arg] = (), line: Line | None = None
    ) -> Any:
        if line is not None:
            return await super().run(name, keys, args, line)
        self._steps.take()
        reply = await super().run(name, keys, args)
        self._steps.take()
        return reply

    async def call(self, *command: Arg, line: Line | None = None) -> Any:
        if line is not None:
            return await super().call(*command, line=line)
        self._steps.take()
        return await super().call(*command)


class Hooks(Plugin):
    """Enqueue hooks, which may be the end too."""

    steps = Steps(None)

    async def before_enqueue(self, job: Enqueuing) -> bool:
        self.steps.take()
        await asyncio.sleep(0)
        return True

    async def after_enqueue(self, job: Enqueuing) -> None:
        self.steps.take()
        await asyncio.sleep(0)


async def nothing(*args: Any) -> None:
    """A task."""


JOBS = {
    "Hooked": {"perform": nothing, "plugins": [Hooks]},
    "Locked": {"perform": nothing, "plugins": [QueueLock]},
}


async def live(url: str, options: dict[str, Any], last_step: int | None) -> None:
    """Schedule until somebody kills us."""
    Hooks.steps = Steps(last_step)
    store = SteppingStore(url, Hooks.steps)
    scheduler = Scheduler(store, JOBS, SchedulerOptions(**options))
    for event in EVENTS:
        scheduler.on(event, lambda event=event: say(event))
    scheduler.on("error", lambda error: say("error", repr(error)))
    await scheduler.start()
    await scheduler.wait()


def say(event: str, *details: Any) -> None:
    """Tell the parent."""
    line = json.dumps([event, os.getpid(), *details]) + "\n"
    os.write(1, line.encode())


def live_and_die(url: str, options: dict[str, Any], death: dict[str, int]) -> None:
    """One life in a fork, and its end."""
    pid = os.fork()
    if pid == 0:
        asyncio.run(live(url, options, death.get("step")))
        os._exit(1)
    if "ms" in death:
        time.sleep(death["ms"] / 1000)
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    say("died", pid)


def end_with_parent() -> None:
    """Our stdin is a pipe that only the parent holds."""

    def wait() -> None:
        sys.stdin.read()
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    """Read the orders and follow them."""
    orders = json.loads(sys.argv[1])
    url, options = orders["url"], orders.get("options", {})
    end_with_parent()
    if orders.get("small"):
        delayed.BATCH, delayed.STEP = 50, 20
    for death in orders.get("deaths", ()):
        live_and_die(url, options, death)
    asyncio.run(live(url, options, None))


if __name__ == "__main__":
    main()
