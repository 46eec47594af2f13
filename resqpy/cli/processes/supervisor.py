"""Supervises several worker processes: restarts dead ones, kills those that don't stop, forwards signals,
and replaces them one by one on HUP: a new process has loaded its project before the old one is told to
stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.concurrency.own_tasks import in_own_thread
from resqpy.cli.output.printing import Exit
from resqpy.framework.config.sections import TasksConfig
from resqpy.framework.logs.log import get_logger
from resqpy.framework.process.signals import (
    NOW_WITHIN_S,
    ControllingTerminal,
    Urgency,
    kill_group,
    listening,
    number,
)

# A supervisor's end of the socket pair to one process.
#
# The process sends LOADED when its project is loaded, and waits for GO; it sends READY when it works. Each
# end notices when the other one is gone.

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
        self._process: asyncio.subprocess.Process | _Fork | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def fork(self, environ: Mapping[str, str]) -> bool:
        """Start as a copy of this process; True in the copy, which has to do what `resqpy` does with the arguments
        that `start` gets.
        """
        pid = os.fork()
        if pid == 0:
            os.setpgid(0, 0)
            self._socket.close()
            os.environ.clear()
            os.environ.update({**environ, SUPERVISED: str(self._theirs.detach())})
            return True
        with contextlib.suppress(OSError):  # the copy did it, or has ended
            os.setpgid(pid, 0)
        self._process = _Fork(pid)
        return False

    async def start(self, arguments: Sequence[str], environ: Mapping[str, str]) -> None:
        """Start `resqpy` with these arguments, unless it was forked."""
        with self._theirs as theirs:
            self._process = self._process or await asyncio.create_subprocess_exec(
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


class _Fork:
    """A forked process, with what is used of asyncio's."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    async def wait(self) -> int:
        """Its exit code; below 0: the signal that ended it."""
        _, status = await in_own_thread(lambda: os.waitpid(self.pid, 0))
        self.returncode = code = os.waitstatus_to_exitcode(status)
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


# Notifies a service manager (systemd, `Type=notify`): that we work, that we stop, that our event loop is
# responsive.
#
# Source: https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html

# A child that inherited them would speak for us.
VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class ServiceManager:
    """The connection to it; without one, nothing is sent. Create it on the loop to be watched: the watchdog
    messages come from there, so they stop when it hangs.
    """

    def __init__(self) -> None:
        address, every_us, watched = (os.environ.pop(name, "") for name in VARIABLES)
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._watching: asyncio.Task[None] | None = None
        if address and every_us.isdigit() and watched in {"", str(os.getpid())}:
            self._watching = asyncio.create_task(self._watch(int(every_us) / 2e6))

    def ready(self) -> None:
        """Report that we work."""
        self._tell("READY=1")

    def stopping(self) -> None:
        """Report that we stop, which may take a while."""
        self._tell("STOPPING=1")

    def close(self) -> None:
        """Stop the watchdog messages."""
        if self._watching is not None:
            self._watching.cancel()

    async def _watch(self, every_s: float) -> None:
        while True:
            self._tell("WATCHDOG=1")
            await asyncio.sleep(every_s)

    def _tell(self, words: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as way:
                way.setblocking(False)  # noqa: FBT003 - its signature
                way.sendto(words.encode(), self._address)
        except OSError as error:
            get_logger().warning("cannot reach the service manager", error=repr(error))


FIRST_PAUSE_S, MAX_PAUSE_S = 0.5, 30.0
STEADY_S = 60.0  # after this long without a crash the restart delay is reset
READY_WITHIN_S = 60.0
FORWARDED = ("USR1", "USR2", "CONT", "TSTP", "TTIN")
STOPPING = ("TERM", "INT")
# A restart would fail the same way.
FINAL = (Exit.USAGE, Exit.PROJECT)

_DEADLY = {
    number(each): each for each in ("SEGV", "ABRT", "BUS", "ILL", "FPE", "TERM", "INT", "HUP")
} | {number("KILL"): "KILL (kill -9, or no memory left)"}


@dataclass(frozen=True)
class Grace:
    """How many seconds a process gets to stop before it is killed.

    Attributes:
        in_order: after the first TERM.
        now: after the second one. (After a third one: none.)
    """

    in_order: float
    now: float

    @classmethod
    def of(cls, tasks: TasksConfig) -> Grace:
        """As configured, and some seconds in which a process ends by itself."""
        cancel_s = tasks.cancel_timeout / 1000
        return cls(tasks.stop_timeout / 1000 + cancel_s + 15.0, cancel_s + NOW_WITHIN_S + 2.0)


@dataclass
class _Child:
    """One child's place; its process changes."""

    index: int
    environ: Mapping[str, str]
    process: Supervised | None = None
    successor: Supervised | None = None  # loaded, and waits until the old process has ended
    ready: asyncio.Event = field(default_factory=asyncio.Event)  # once
    wanted: asyncio.Event = field(default_factory=asyncio.Event)  # a new one, immediately


class Supervisor:
    """Keeps children alive.

    Args:
        arguments: of `resqpy`, for each child.
        count: how many.
        grace: how long they get to stop.
        burst: a child that ends with 0 is not replaced.
        stubborn: even a project that can't be loaded doesn't end us; we wait for `roll`.
        vary: additional environment of a child, by its number (from 0).
    """

    def __init__(
        self,
        arguments: Sequence[str],
        count: int,
        grace: Grace,
        *,
        environ: Mapping[str, str] | None = None,
        burst: bool = False,
        stubborn: bool = False,
        vary: Callable[[int], Mapping[str, str]] = lambda _: {},
    ) -> None:
        self._arguments = list(arguments)
        given = os.environ if environ is None else environ
        own = {name: given[name] for name in given if name not in VARIABLES}
        self._grace = grace
        self._urgency = Urgency()
        self._all: set[Supervised] = set()  # including successors
        self._children = [_Child(index + 1, {**own, **vary(index)}) for index in range(count)]
        self._forked: Supervised | None = None  # the first process, until it is attended
        self._burst, self._stubborn = burst, stubborn
        self._stopping = asyncio.Event()
        self._rolling: asyncio.Task[None] | None = None
        self._code: int = Exit.OK
        self._renewed = self._again = False  # of a roll: replaced one; another is due
        self._log = get_logger()
        self._terminal = ControllingTerminal()

    def fork(self) -> bool:
        """Start the first process as a copy of this one, which has imported all that it needs; True in the copy.
        To be called before `run`, while there is one thread. Later processes read all code again.
        """
        first = self._children[0]
        self._forked = Supervised(first.ready.set)
        return self._forked.fork(first.environ)

    async def run(self) -> int:
        """Run until a signal requests a stop, or all children have ended; returns the exit code."""
        manager = ServiceManager()
        telling = asyncio.create_task(self._tell(manager))
        with listening(self._handlers()):
            async with asyncio.TaskGroup() as group:
                for child in self._children:
                    group.create_task(self._keep(child))
        for task in (telling, self._rolling):
            if task is not None:
                task.cancel()
        self._kill_all()
        for each in self._all:
            await each.ended.wait()
        manager.close()
        return self._code

    async def _tell(self, manager: ServiceManager) -> None:
        """Notify the service manager when all have been ready, and when we stop."""
        for child in self._children:
            await child.ready.wait()
        manager.ready()
        await self._stopping.wait()
        manager.stopping()

    def _handlers(self) -> dict[str, Callable[[], None]]:
        def forward(name: str) -> Callable[[], None]:
            return lambda: self._forward(name)

        def stop(name: str) -> Callable[[], None]:
            return lambda: self._stop(name)

        return {
            **{name: forward(name) for name in FORWARDED},
            **{name: stop(name) for name in STOPPING},
            "QUIT": self._drain,
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
                died = {"process": child.index, "code": code} | _signal_of(code)
                self._log.warning("process died", **died, again_in_s=pause_s)
                await _first(pause_s, self._stopping, child.wanted)
                pause_s = min(pause_s * 2, MAX_PAUSE_S)

    async def _live(self, child: _Child) -> int:
        """Let a process work, and return its exit code when it has ended."""
        process = child.successor or await self._begin(child)
        child.process, child.successor = process, None
        process.go()
        await process.ended.wait()
        child.process = None
        return process.code

    async def _begin(self, child: _Child) -> Supervised:
        """Start a process, which loads the project and waits."""
        process, self._forked = self._forked or Supervised(child.ready.set), None
        await process.start(self._arguments, child.environ)
        self._all = {each for each in self._all if not each.ended.is_set()} | {process}
        if self._stopping.is_set():  # the request came before it existed
            process.signal("TERM")
        return process

    async def _replace(self, child: _Child, code: int) -> bool:
        """Whether to replace a process that ended."""
        if child.wanted.is_set():
            return True
        worked = any(each.ready.is_set() for each in self._children)
        final = _is_final(code, ready=child.ready.is_set(), worked=worked)
        if self._stubborn and (code == Exit.PROJECT or (code in FINAL and not final)):
            self._log.error("fix the project; the next change starts it again")
            await _first(None, self._stopping, child.wanted)
            return not self._stopping.is_set()
        if final:
            self._stop("TERM")
        if final or (self._burst and code == Exit.OK):
            self._code = max(self._code, code)
            return False
        return True

    # -- all children --

    def _stop(self, name: str) -> None:
        level = self._urgency.rise()
        if not level:
            return
        self._stopping.set()
        if level > 2:
            self._kill_all()
            return
        self._send(name)
        within_s = self._grace.in_order if level == 1 else self._grace.now
        asyncio.get_running_loop().call_later(within_s, self._kill_all)

    def _drain(self) -> None:
        """Stop without a limit."""
        self._urgency.level = max(1, self._urgency.level)
        self._stopping.set()
        self._send("QUIT")

    def _send(self, name: str) -> None:
        for each in self._all:
            each.signal(name)

    def _forward(self, name: str) -> None:
        for child in self._children:
            if child.process is not None:
                child.process.signal_when_ready(name)

    def _kill_all(self) -> None:
        for each in self._all:
            self._kill(each)

    def _kill(self, process: Supervised) -> None:
        if not process.ended.is_set():
            self._log.error("process did not stop in time: killed", pid=process.pid)
            process.kill()

    def _hang_up(self) -> None:
        if self._terminal.closed:
            self._stop("TERM")
        else:
            self.roll()

    def roll(self) -> None:
        """Replace all, one after the other: the new one has loaded its project before the old one is told
        to stop, and is ready before the next one is replaced. Waiting children are started.
        """
        for child in self._children:
            if child.process is None:
                child.wanted.set()
        if self._rolling is None or self._rolling.done():
            self._rolling = asyncio.get_running_loop().create_task(self._roll_all())
        elif self._renewed and any(child.process is not None for child in self._children):
            self._again = True  # a new one may have been loaded before the latest change

    async def _roll_all(self) -> None:
        self._again = True
        while self._again:
            self._again = self._renewed = False
            await self._roll()

    async def _roll(self) -> None:
        for child in self._children:
            if child.process is not None and not await self._renew(child):
                return

    async def _renew(self, child: _Child) -> bool:
        """Replace a process; False: leave the others as they are."""
        self._renewed = True
        new = await self._begin(child)
        if not await new.comes_to(new.loaded, READY_WITHIN_S):
            new.kill()
            if not self._stopping.is_set():
                self._log.error(
                    "the new code cannot be loaded: the old process continues", process=child.index
                )
            return False
        old, child.successor = child.process, new
        child.wanted.set()
        if old is not None:
            old.signal("TERM")
            asyncio.get_running_loop().call_later(self._grace.in_order, self._kill, old)
            await old.ended.wait()
        if await new.comes_to(new.ready, READY_WITHIN_S):
            return True
        self._log.error("process is not ready; no more are replaced", process=child.index)
        return False


async def _first(timeout_s: float | None, *events: asyncio.Event) -> None:
    waits = [asyncio.ensure_future(each.wait()) for each in events]
    await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    for each in waits:
        each.cancel()


def _signal_of(code: int) -> dict[str, str]:
    """The signal that ended a process, by name, and the usual cause of KILL."""
    return {"signal": _DEADLY.get(-code, str(-code))} if code < 0 else {}


def _is_final(code: int, *, ready: bool, worked: bool) -> bool:
    """Whether a restart would fail the same way. After a child was ready that no longer holds: somebody is
    about to fix what a deploy broke, and the others continue. A wrong setting may be one child's own,
    such as its port.

    Args:
        ready: that child was, once.
        worked: any child was.
    """
    return not ready if code == Exit.USAGE else code == Exit.PROJECT and not worked
