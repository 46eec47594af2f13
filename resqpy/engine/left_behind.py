"""What was cut off and does not end: counted, told, and bounded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from resqpy.base.errors import ResqpyError
from resqpy.base.own_tasks import OwnTask
from resqpy.engine.telling import Events, tell_error
from resqpy.engine.threads import ThreadRunner

MOST = 100  # that one process bears


class LeftBehind:
    """Coroutines and threads of jobs that have ended for everybody else.

    Args:
        events: told of each.
        die: ends the worker, which then is to be started anew.

    Attributes:
        threads: the threads of plain functions.
    """

    def __init__(self, events: Events, die: Callable[[BaseException], None] | None) -> None:
        self.threads: ThreadRunner | None = None
        self._events = events
        self._die = die
        self._tasks: set[OwnTask[Any]] = set()

    @property
    def coroutines(self) -> int:
        """How many of them still run."""
        return len(self._tasks)

    @property
    def functions(self) -> int:
        """How many plain functions still run, in threads of their own."""
        return 0 if self.threads is None else self.threads.abandoned

    def add(self, task: OwnTask[Any]) -> None:
        """A coroutine does not end when it is cancelled."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.tell(f"the coroutine of {task.get_name()}")

    def tell(self, what: str = "a plain function in a thread") -> None:
        """Tell of one; with too many of them the worker ends, since only a new process is rid of them."""
        count = self.coroutines + self.functions
        words = f"{count} such are left in this process"
        told = f"{what} was cut off and does not end; its slot goes on without it ({words})"
        tell_error(self._events, ResqpyError(told))
        if count >= MOST and self._die is not None:
            self._die(ResqpyError(f"{told}; this process must be started anew"))
