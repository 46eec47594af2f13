"""Jobs of ours under the names that the other language's side has too."""

from __future__ import annotations

import asyncio
from typing import Any


class Ours:
    """What ran here, and a gate that holds runs back.

    Attributes:
        jobs: echo, hold and fail, named as the other side names them.
        ran: the arguments of each `echo`.
    """

    def __init__(self, named: Any = str) -> None:
        self.ran: list[list[Any]] = []
        self.gate = asyncio.Event()
        self.jobs = {named(each.__name__): each for each in (self.echo, self.hold, self.fail)}

    async def echo(self, *args: Any) -> None:
        """Note the arguments."""
        self.ran.append(list(args))

    async def hold(self, *_: Any) -> None:
        """Run until the gate opens."""
        await self.gate.wait()

    def fail(self, message: str) -> None:
        """Raise."""
        raise ValueError(message)
