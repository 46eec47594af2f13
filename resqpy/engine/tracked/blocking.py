"""The active task for plain (not async) handlers, which run in a thread."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

from resqpy.engine.tracked.active import ActiveTask


class BlockingTask:
    """An `ActiveTask` whose methods return when what they do is done.

    Everything else is the same: properties, `payload`, events (listeners are called on the loop).

    Args:
        loop: the event loop on which the task is processed.
    """

    def __init__(self, task: ActiveTask, loop: asyncio.AbstractEventLoop) -> None:
        object.__setattr__(self, "_task", task)
        object.__setattr__(self, "_loop", loop)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._task, name)
        if not inspect.iscoroutinefunction(found):
            return found

        def call(*args: Any, **more: Any) -> Any:
            """Run it on the loop, and wait."""
            return asyncio.run_coroutine_threadsafe(found(*args, **more), self._loop).result()

        return call

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._task, name, value)

    def __repr__(self) -> str:
        return repr(self._task)
