"""A timetable of your own: an initializer that enqueues a task every ten seconds, in one process only.

However many processes run this, only the one whose scheduler leads enqueues. (For a plain timetable a
task's `cron` needs none of this; this is for those that a program works out by itself.)
Put it in `initializers/`, and let at least one process run a scheduler.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from resqpy import Initializer, api

EVERY_S = 10.0


class Timetable(Initializer):
    """Enqueues `sayHello`; `api.timetable` is the set of what it has scheduled."""

    def initialize(self) -> set[asyncio.Task[None]]:
        """What this returns is `api.timetable`."""
        self.scheduled: set[asyncio.Task[None]] = set()
        return self.scheduled

    def start(self) -> None:
        """Begin when everything is initialized."""
        self.scheduled.add(asyncio.create_task(self.say_hello()))

    async def say_hello(self) -> None:
        """Each ten seconds, if this process' scheduler leads."""
        while True:
            scheduler = api.resque.scheduler
            if scheduler is not None and scheduler.leader:
                now = datetime.now(UTC).isoformat()
                try:
                    await api.tasks.enqueue("sayHello", {"time": now}, "default")
                except Exception as error:  # a timetable goes on after a bad moment of Redis
                    api.log.error("could not enqueue", task="sayHello", error=repr(error))
            await asyncio.sleep(EVERY_S)

    def stop(self) -> None:
        """End with the process."""
        for job in self.scheduled:
            job.cancel()
