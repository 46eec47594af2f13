"""The active task for plain (not async) handlers, which run in a thread."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

from resqpy.base.errors import UsageError
from resqpy.tracked.active import ActiveTask


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
        if not inspect.ismethod(found):
            return found

        def call(*args: Any, **more: Any) -> Any:
            """Call it on the loop, and wait."""
            return self._wait(name, found, args, more)

        return call

    def _wait(self, name: str, method: Any, args: tuple[Any, ...], more: dict[str, Any]) -> Any:
        if not self._here():
            return asyncio.run_coroutine_threadsafe(
                _called(method, args, more), self._loop
            ).result()
        if inspect.iscoroutinefunction(method):
            raise UsageError(
                f"{name}() of a listener of an event: there is nothing to wait with on the event "
                "loop; set a threading.Event there, and call it in the handler"
            )
        return method(*args, **more)

    def _here(self) -> bool:
        """Whether we are on the loop, which must not wait for itself."""
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._task, name, value)

    def __repr__(self) -> str:
        return repr(self._task)


async def _called(method: Any, args: tuple[Any, ...], more: dict[str, Any]) -> Any:
    result = method(*args, **more)
    return await result if inspect.isawaitable(result) else result
