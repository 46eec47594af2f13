"""A plain task, as a class: it runs as soon as a worker is free."""

from __future__ import annotations

import asyncio

from resqpy import Input, Task


def looks_like_an_address(value: str) -> bool:
    """A validator: it says False, returns what is wrong, or raises."""
    return "@" in value


class SendWelcomeEmail(Task):
    """Send a new user a welcome email."""

    # Its name in Redis is `sendWelcomeEmail`; give `name = "…"` for another.
    queue = "default"
    inputs = {"to": Input(validator=looks_like_an_address)}

    async def run(self, to: str, greeting: str = "Welcome") -> str:
        """Inputs are parameters; their types are checked when a job is enqueued and before it runs."""
        await asyncio.sleep(0.05)  # here a real task would talk to a mail server
        print(f"  ✉  mail to {to}: {greeting}!")
        return f"sent to {to}"  # a result is logged
