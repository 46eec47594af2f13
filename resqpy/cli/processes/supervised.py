"""A supervisor's end of the socket pair to one process.

The process sends LOADED when its project is loaded, and waits for GO; it sends READY when it works. Each
end notices when the other one is gone.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable, Mapping, Sequence

from resqpy.framework.process.signals import kill_group, number

SUPERVISED = "RESQPY_SUPERVISED"  # the number of the socket to the supervisor
LOADED, GO, READY = b"l", b"g", b"r"


class Supervised:
    """A process. It leads its own process group, so that a Ctrl-C on the terminal reaches it once, through
    us.

    Args:
        on_ready: called when it works.

    Attributes:
        loaded: its project is loaded; it waits for `go`.
        ready: it works.
        ended: it has ended.
    """

    def __init__(self, on_ready: Callable[[], None]) -> None:
        self.loaded: asyncio.Event = asyncio.Event()
        self.ready: asyncio.Event = asyncio.Event()
        self.ended: asyncio.Event = asyncio.Event()
        self.code: int = 0
        self._socket, self._theirs = socket.socketpair()
        self._socket.setblocking(False)  # noqa: FBT003 - its signature
        self._on_ready = on_ready
        self._kept: list[str] = []  # signals
        self._process: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, arguments: Sequence[str], environ: Mapping[str, str]) -> None:
        """Start `resqpy` with these arguments."""
        with self._theirs as theirs:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "resqpy.cli", *arguments),
                env={**environ, SUPERVISED: str(theirs.fileno())},
                pass_fds=[theirs.fileno()],
                process_group=0,
            )
        self._tasks = [asyncio.create_task(each) for each in (self._hear(), self._watch())]

    async def _hear(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while said := await loop.sock_recv(self._socket, 1):
                self._said(said)
        except OSError:  # it was killed
            return

    def _said(self, word: bytes) -> None:
        if word == LOADED:
            self.loaded.set()
        else:
            self.ready.set()
            self._on_ready()
            for name in self._kept:
                self.signal(name)

    async def _watch(self) -> None:
        assert self._process is not None
        self.code = await self._process.wait()
        if self.code:  # processes started by its jobs must not run beside their next runs
            kill_group(self._process.pid)
        self._tasks[0].cancel()
        await asyncio.wait(self._tasks[:1])
        self._socket.close()
        self.ended.set()

    @property
    def pid(self) -> int:
        """Its process id, once started."""
        return self._process.pid if self._process is not None else 0

    def go(self) -> None:
        """Let it work, as soon as it is loaded."""
        try:
            self._socket.send(GO)
        except OSError:  # it has ended
            return

    def signal(self, name: str) -> None:
        """Send it a signal, by its name: "TERM"."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number(name))

    def signal_when_ready(self, name: str) -> None:
        """The same as soon as it works: the signal would end one that is still starting."""
        if self.ready.is_set():
            self.signal(name)
        else:
            self._kept.append(name)

    def kill(self) -> None:
        """Kill it and its group immediately, whatever its event loop does."""
        if self._process is not None and self._process.returncode is None:
            kill_group(self._process.pid)

    async def comes_to(self, state: asyncio.Event, within_s: float) -> bool:
        """Whether it is `loaded` or `ready` within a time; False if it ends before."""
        waits = [asyncio.ensure_future(each.wait()) for each in (state, self.ended)]
        try:
            await asyncio.wait(waits, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
        return state.is_set() and not self.ended.is_set()
