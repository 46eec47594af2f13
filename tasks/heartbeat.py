"""A periodic task: it is enqueued when a process with a scheduler starts, and again after each run.

However many processes there are, one such job waits at a time. For fixed times of the day use
`cron = "0 30 7 * * mon-fri"` and `timezone = "Europe/Berlin"` instead of a frequency.
"""

from __future__ import annotations

from typing import Any

from resqpy import Task


class SayHello(Task):
    """Say hello every second."""

    name = "sayHello"
    queue = "default"
    frequency = 1000  # milliseconds

    async def run(self, params: dict[str, Any], worker: Any) -> None:
        """`params` has all inputs (none here), `worker` is who runs it: ActionHero's way."""
        print("  ♥  hello, says sayHello")
