"""Monitors the event loop from other threads. A blocked loop is logged, with what blocks it, and again when
it continues. Also dumps its tasks and the stacks of all threads, for a process that hangs.
"""

from __future__ import annotations

import asyncio
import io
import sys
import threading
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.engine.run import Run, current_run
from resqpy.framework.logs.log import get_logger

BLOCKED_AFTER_S = 3.0  # without an answer
ASKED_EVERY_S = 1.0

_REMEDY = (
    "let it await what it waits for, or make it a plain function (def), which runs in a thread"
)


class LoopWatch:
    """Watches a loop. Code in other threads calls `look` regularly.

    Args:
        root: the project's directory, to find its code in stacks.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._looking = threading.Lock()
        self._asked_s: float | None = None  # when an unanswered request was sent
        self._answered_s = float("-inf")
        self._told: dict[str, Any] | None = None

    def begin(self) -> None:
        """Watch the running loop."""
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()

    def look(self) -> float:
        """How many seconds the loop has not answered. From any thread."""
        with self._looking:
            asked_s, now_s = self._asked_s, SYSTEM_CLOCK.monotonic()
            if asked_s is None:
                self._ask(now_s)
                return 0.0
            silent_s = now_s - asked_s
            if silent_s < BLOCKED_AFTER_S:
                return silent_s
            frame = sys._current_frames().get(self._thread)  # noqa: SLF001 - documented for this very use
            if _waits(frame):  # the whole process was suspended, and continues
                return 0.0
            if self._told is None:
                self._told = {**self._of_task(), **self._place(frame)}
                message = "the event loop is blocked: nothing else that runs on it can continue"
                get_logger().warning(
                    message, blocked_s=round(silent_s, 1), **self._told, remedy=_REMEDY
                )
            return silent_s

    def _ask(self, now_s: float) -> None:
        if self._loop is None or now_s - self._answered_s < ASKED_EVERY_S:
            return
        self._asked_s = now_s
        try:
            self._loop.call_soon_threadsafe(self._answer, now_s)
        except RuntimeError:  # closed: it has ended
            self._asked_s = None

    def _answer(self, asked_s: float) -> None:
        """Runs on the loop."""
        self._asked_s, self._answered_s = None, SYSTEM_CLOCK.monotonic()
        told, self._told = self._told, None
        if told is not None:
            silent_s = round(self._answered_s - asked_s, 1)
            get_logger().warning("the event loop is no longer blocked", blocked_s=silent_s, **told)

    def _of_task(self) -> dict[str, Any]:
        """The job that runs on the loop, or whatever else runs there."""
        task = asyncio.current_task(self._loop)
        run = getattr(task, "owner", None)
        context = getattr(task, "get_context", None)  # Python 3.12
        if not isinstance(run, Run) and context is not None:
            run = context().get(current_run)
        if isinstance(run, Run):
            return {"task": run.class_name, "queue": run.queue}
        return {} if task is None else {"runs": task.get_name()}

    def _place(self, frame: FrameType | None) -> dict[str, str]:
        """The innermost line of the project's code on the stack; if there is none, of any code."""
        innermost = frame
        while frame is not None:
            path = Path(frame.f_code.co_filename)
            if path.is_relative_to(self._root) and "site-packages" not in path.parts:
                return {"at": _at(frame, path.relative_to(self._root))}
            frame = frame.f_back
        if innermost is None:
            return {}
        return {"at": _at(innermost, Path(innermost.f_code.co_filename))}


def _at(frame: FrameType, path: Path) -> str:
    return f"{path}:{frame.f_lineno} in {frame.f_code.co_name}"


def _waits(frame: FrameType | None) -> bool:
    """Whether the idle loop is waiting for events: asyncio's is in its selector, uvloop's has no frame
    below its caller's.
    """
    back = frame and frame.f_back
    if frame is None or back is None:
        return False
    return _module(back) == "asyncio.base_events" or _module(frame) in _RUNNERS


_RUNNERS = ("asyncio.runners", "resqpy.base.concurrency.own_tasks")


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__"))


def dump(loop: asyncio.AbstractEventLoop) -> str:
    """The text; from any thread, so also while the loop is blocked."""
    out = io.StringIO()
    tasks = asyncio.all_tasks(loop)
    print(f"{len(tasks)} tasks", file=out)
    for task in sorted(tasks, key=lambda each: each.get_name()):
        print(f"\n{task.get_name()}: {task.get_coro()!r}", file=out)
        task.print_stack(limit=12, file=out)
    out.write(stacks())
    return out.getvalue()


def stacks() -> str:
    """The stacks of all threads."""
    out = io.StringIO()
    names = {each.ident: each.name for each in threading.enumerate()}
    frames = sys._current_frames()  # noqa: SLF001 - documented for this very use
    for ident, frame in frames.items():
        print(f"\nthread {names.get(ident, ident)}", file=out)
        out.write("".join(traceback.format_stack(frame)))
    return out.getvalue()
