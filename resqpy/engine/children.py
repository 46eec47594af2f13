"""The child processes that a job leaves behind when it is cut off, as Linux lists them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_TERM, _KILL = 15, 9  # of all systems that have /proc
_END_WITHIN_S = 2.0
_HELPERS = (b"multiprocessing.resource_tracker", b"multiprocessing.forkserver")


@dataclass(frozen=True)
class Child:
    """A child process.

    Attributes:
        began_s: seconds after the machine's start; a number that is used again has another one.
    """

    pid: int
    began_s: float
    name: str

    @property
    def lives(self) -> bool:
        """Whether it still runs."""
        return _child(self.pid) == self


def begun_within(seconds: float, thread: int) -> list[Child]:
    """The living children that a thread has started within so many seconds until now.

    Args:
        thread: its native id; of a coroutine the thread of its loop, which starts others' children too.
    """
    try:
        uptime_s = float(Path("/proc/uptime").read_text("ascii").split()[0])
        pids = Path(f"/proc/self/task/{thread}/children").read_text("ascii").split()
    except OSError:  # another system, or the thread is gone
        return []
    since_s = uptime_s - seconds - 2 * _TICK_S
    found = [child for pid in pids if (child := _child(int(pid))) is not None]
    return [child for child in found if child.began_s >= since_s and not _is_helper(child.pid)]


def end(children: Sequence[Child]) -> None:
    """Ask them to end (TERM), and kill those that have not after some seconds."""
    for each in children:
        _send(each, _TERM)
    asyncio.get_running_loop().call_later(_END_WITHIN_S, _kill, children)


def _kill(children: Sequence[Child]) -> None:
    for each in children:
        _send(each, _KILL)


def _send(child: Child, number: int) -> None:
    if child.lives:
        with suppress(ProcessLookupError):
            os.kill(child.pid, number)


def _child(pid: int) -> Child | None:
    try:
        name, _, rest = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")
    except OSError:
        return None
    fields = rest.split()
    if fields[0] in "ZX":
        return None
    return Child(pid, int(fields[19]) * _TICK_S, name.partition("(")[2])


def _is_helper(pid: int) -> bool:
    """Of the standard library's, for the whole process."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return any(each in words for each in _HELPERS)
