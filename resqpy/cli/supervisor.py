"""Several processes of workers under one: restarts what dies, forwards signals, rolls on HUP.

Each child leads a process group of its own, so that a Ctrl-C on the terminal reaches it once, through
us; and it has one end of a pair of sockets, over which it says that it is ready, and hears when we die.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.cli.exits import Exit
from resqpy.cli.running import SUPERVISED
from resqpy.cli.service_manager import VARIABLES, ServiceManager
from resqpy.framework.log import get_logger
from resqpy.framework.signals import Terminal, listening, number

FIRST_PAUSE_S, MOST_PAUSE_S = 0.5, 30.0
STEADY_S = 60.0  # who lived so long begins again with the first pause
READY_WITHIN_S = 60.0
FORWARDED = ("USR1", "USR2", "CONT", "TSTP", "TTIN")
STOPPING = ("TERM", "INT", "QUIT")
# A new start would end the same way. Once a child was ready it is another matter: somebody is about to
# mend what a deploy broke, and the others work on.
FINAL = (Exit.USAGE, Exit.PROJECT)


@dataclass
class _Child:
    """One child's place; its process changes."""

    index: int
    process: asyncio.subprocess.Process | None = None
    began: asyncio.Event = field(default_factory=asyncio.Event)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    wanted: asyncio.Event = field(default_factory=asyncio.Event)  # a new one, at once


class Supervisor:
    """Keeps children alive.

    Args:
        arguments: of `resqpy`, for each child.
        count: how many.
        burst: a child that ends with 0 is not replaced.
        stubborn: not even a project that can't be loaded ends us; we wait for `roll`.
        vary: what stands in the environment of a child besides, by its number (from 0).
    """

    def __init__(
        self,
        arguments: Sequence[str],
        count: int,
        *,
        environ: Mapping[str, str] | None = None,
        burst: bool = False,
        stubborn: bool = False,
        vary: Callable[[int], Mapping[str, str]] = lambda _: {},
    ) -> None:
        self._arguments = list(arguments)
        given = os.environ if environ is None else environ
        self._environ = {name: given[name] for name in given if name not in VARIABLES}
        self._children = [_Child(index + 1) for index in range(count)]
        self._burst, self._stubborn, self._vary = burst, stubborn, vary
        self._stopping = asyncio.Event()
        self._rolling: asyncio.Task[None] | None = None
        self._code: int = Exit.OK
        self._worked = False  # whether a child was ever ready
        self._renewed = self._again = False  # of a roll: a new child began; another roll is due
        self._log = get_logger()
        self._terminal = Terminal()

    async def run(self) -> int:
        """Until a signal says stop, or all children have ended for good; the exit code."""
        manager = ServiceManager()
        telling = asyncio.create_task(self._tell(manager))
        with listening(self._handlers()):
            async with asyncio.TaskGroup() as group:
                for child in self._children:
                    group.create_task(self._keep(child))
        for task in (telling, self._rolling):
            if task is not None:
                task.cancel()
        manager.close()
        return self._code

    async def _tell(self, manager: ServiceManager) -> None:
        """Tell it when all have been ready, and when we stop."""
        for child in self._children:
            await child.ready.wait()
        manager.ready()
        await self._stopping.wait()
        manager.stopping()

    def _handlers(self) -> dict[str, Callable[[], None]]:
        def forward(name: str) -> Callable[[], None]:
            return lambda: self._send(name)

        def stop(name: str) -> Callable[[], None]:
            return lambda: self._stop(name)

        return {
            **{name: forward(name) for name in FORWARDED},
            **{name: stop(name) for name in STOPPING},
            "HUP": self._hang_up,
        }

    # -- one child --

    async def _keep(self, child: _Child) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._stopping.is_set():
            child.wanted.clear()
            began = SYSTEM_CLOCK.monotonic()
            code = await self._live(child)
            if self._stopping.is_set() or not await self._replace(child, code):
                return
            if SYSTEM_CLOCK.monotonic() - began > STEADY_S:
                pause_s = FIRST_PAUSE_S
            if code != Exit.OK and not child.wanted.is_set():
                self._log.warning(
                    "process died", process=child.index, code=code, again_in_s=pause_s
                )
                await self._first(pause_s, self._stopping, child.wanted)
                pause_s = min(pause_s * 2, MOST_PAUSE_S)

    async def _live(self, child: _Child) -> int:
        """Start a process, and return its exit code when it has ended."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)  # noqa: FBT003 - its signature
        child.ready.clear()
        with ours:
            with theirs:
                child.process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-m", "resqpy.cli", *self._arguments),
                    env={
                        **self._environ,
                        **self._vary(child.index - 1),
                        SUPERVISED: str(theirs.fileno()),
                    },
                    pass_fds=[theirs.fileno()],
                    process_group=0,
                )
            child.began.set()
            hearing = asyncio.create_task(self._hear(ours, child))
            try:
                return await child.process.wait()
            finally:
                hearing.cancel()
                child.process = None

    async def _hear(self, ours: socket.socket, child: _Child) -> None:
        while await asyncio.get_running_loop().sock_recv(ours, 1):
            self._worked = True
            child.ready.set()

    async def _replace(self, child: _Child, code: int) -> bool:
        """Whether another one follows one that ended."""
        if child.wanted.is_set():
            return True
        if code in FINAL and self._stubborn:
            self._log.error("mend the project; the next change starts it again")
            await self._first(None, self._stopping, child.wanted)
            return not self._stopping.is_set()
        final = code in FINAL and not self._worked
        if final:
            self._stop("TERM")
        if final or (self._burst and code == Exit.OK):
            self._code = max(self._code, code)
            return False
        return True

    @staticmethod
    async def _first(timeout_s: float | None, *events: asyncio.Event) -> None:
        waits = [asyncio.ensure_future(each.wait()) for each in events]
        await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        for each in waits:
            each.cancel()

    # -- all children --

    def _stop(self, name: str) -> None:
        self._stopping.set()
        self._send(name)

    def _send(self, name: str) -> None:
        for child in self._children:
            _signal(child, name)

    def _hang_up(self) -> None:
        if self._terminal.closed:
            self._stop("TERM")
        else:
            self.roll()

    def roll(self) -> None:
        """Replace all, one after the other: each gets its time to stop, and its successor is ready
        before the next one goes. Children that wait are started.
        """
        for child in self._children:
            if child.process is None:
                child.wanted.set()
        if self._rolling is None or self._rolling.done():
            self._rolling = asyncio.get_running_loop().create_task(self._roll_all())
        elif self._renewed and any(child.process is not None for child in self._children):
            self._again = True  # a new one may have been loaded before what this is about

    async def _roll_all(self) -> None:
        self._again = True
        while self._again:
            self._again = self._renewed = False
            await self._roll()

    async def _roll(self) -> None:
        for child in self._children:
            if child.process is None:
                continue
            child.wanted.set()
            child.began.clear()
            _signal(child, "TERM")
            try:
                await self._until_ready(child)
            except TimeoutError:
                self._log.error("process is not ready; no more are replaced", process=child.index)
                return

    async def _until_ready(self, child: _Child) -> None:
        """The old one has its time to stop; only the new one must be quick."""
        await child.began.wait()
        self._renewed = True
        async with asyncio.timeout(READY_WITHIN_S):
            await child.ready.wait()


def _signal(child: _Child, name: str) -> None:
    if child.process is not None and child.process.returncode is None:
        child.process.send_signal(number(name))
