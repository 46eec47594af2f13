"""Abandoned coroutines, threads and child processes: what was cut off and does not end. Counted, reported,
and bounded, except child processes.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resqpy.base.concurrency.own_tasks import OwnTask
from resqpy.base.errors import ResqpyError
from resqpy.engine.event_sink import EventSink, tell_error
from resqpy.engine.run import Run
from resqpy.engine.worker.threads import ThreadRunner

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_TERM, _KILL = 15, 9  # on all systems that have /proc
_END_WITHIN_S = 2.0
_HELPERS = (b"multiprocessing.resource_tracker", b"multiprocessing.forkserver")


@dataclass(frozen=True)
class Child:
    """A child process.

    Attributes:
        began_s: seconds after the machine's start; distinguishes processes with a reused pid.
    """

    pid: int
    began_s: float
    name: str

    @property
    def lives(self) -> bool:
        """Whether it is still running."""
        return _child(self.pid) == self


def begun_within(seconds: float, thread: int) -> list[Child]:
    """The live children that a thread has started within this many seconds.

    Args:
        thread: its native id; for a coroutine the thread of its loop, which also starts others' children.
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
    """One of the standard library's helpers for the whole process."""
    try:
        message = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return any(each in message for each in _HELPERS)


MAXIMUM = 100  # limit for one process


class LeftBehind:
    """Coroutines, threads and child processes of jobs that have otherwise ended.

    Args:
        events: receives each of them.
        die: ends the worker, which must then be restarted.

    Attributes:
        threads: the threads of plain functions.
    """

    def __init__(self, events: EventSink, die: Callable[[BaseException], None] | None) -> None:
        self.threads: ThreadRunner | None = None
        self._events = events
        self._die = die
        self._tasks: set[OwnTask[Any]] = set()
        self._children: set[Child] = set()

    @property
    def coroutines(self) -> int:
        """How many of them are still running."""
        return len(self._tasks)

    @property
    def functions(self) -> int:
        """How many plain functions are still running, in threads of their own."""
        return 0 if self.threads is None else self.threads.abandoned

    def add(self, task: OwnTask[Any]) -> None:
        """A coroutine does not end when cancelled."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.tell(f"the coroutine of {task.get_name()}")

    def tell(self, what: str = "a plain function in a thread") -> None:
        """Report one; if there are too many the worker ends, because only a new process can get rid of them."""
        count = self.coroutines + self.functions
        message = f"{count} such are left in this process"
        told = f"{what} was cut off and does not end; its slot continues without it ({message})"
        tell_error(self._events, ResqpyError(told))
        if count >= MAXIMUM and self._die is not None:
            self._die(ResqpyError(f"{told}; this process must be restarted"))

    @property
    def children(self) -> int:
        """How many child processes are still running."""
        self._children = {each for each in self._children if each.lives}
        return len(self._children)

    def look_for_children(self, run: Run, ran_s: float) -> None:
        """A job was cut off: processes that it started may continue, beside its next run."""
        thread = run.thread or threading.get_native_id()
        found = [each for each in begun_within(ran_s, thread) if each not in self._children]
        if not found:
            return
        self._children.update(found)
        ends = run.definition is not None and run.definition.end_children
        if ends:
            end(found)
        named = ", ".join(f"{each.pid} ({each.name})" for each in found)
        whose = "its" if run.thread else "its or another coroutine's"
        message = "are ended" if ends else "continue"
        tell_error(
            self._events,
            ResqpyError(
                f"{run.class_name} was cut off; {whose} child processes {message}: {named}; "
                f"{self.children} such are left by this process"
            ),
        )
