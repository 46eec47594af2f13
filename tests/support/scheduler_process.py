"""The parent's side of `scheduler_main`: start, listen, kill, freeze."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, ClassVar, Self

from tests.support.source import ROOT
from tests.support.waiting import wait_for


class SchedulerProcess:
    """A scheduler that can be killed.

    Attributes:
        events: what it told: `[event, pid, …]`.
    """

    MODULE: ClassVar[str] = "tests.support.scheduler_main"

    def __init__(
        self,
        url: str,
        *,
        deaths: Sequence[dict[str, int]] = (),
        small: bool = False,
        **options: Any,
    ) -> None:
        orders = {"url": url, "options": options, "deaths": list(deaths), "small": small}
        self._orders = json.dumps(orders)
        self.events: list[list[Any]] = []

    async def __aenter__(self) -> Self:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", self.MODULE, self._orders,
            stdin=pipe, stdout=pipe, cwd=ROOT, start_new_session=True,
        )  # fmt: skip
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.events.append(json.loads(line))

    def names(self) -> list[str]:
        """The events' names."""
        return [event[0] for event in self.events]

    def count(self, name: str) -> int:
        """How often an event was told."""
        return self.names().count(name)

    async def leads(self, timeout: float = 20) -> None:
        """Wait until it says that it leads."""
        await wait_for(lambda: self.count("leader"), timeout, "the scheduler leads")

    @property
    def pid(self) -> int:
        """The process, which leads a group of its own."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs (or is frozen)."""
        return self._process.returncode is None

    def freeze(self) -> None:
        """SIGSTOP."""
        os.killpg(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        os.killpg(self._process.pid, signal.SIGCONT)

    async def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        if self.alive:
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        await self._reader
        if self._process.stdin is not None:
            self._process.stdin.close()
