"""What takes long to read, read once for all who ask, in the background."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.concurrency.own_tasks import OwnTask, own_task

T = TypeVar("T")


class Remembered(Generic[T]):
    """Reads something for at most one caller at a time, and keeps it for a while.

    Args:
        seconds: how long.
    """

    def __init__(self, read: Callable[[], Awaitable[T]], seconds: float) -> None:
        self._read = read
        self._seconds = seconds
        self._task: OwnTask[T] | None = None
        self._value: T | None = None
        self._until_s = float("-inf")

    async def get(self, patience_s: float) -> T | None:
        """What was read last; None: it is still being read, and was not ready in time.

        Raises:
            Exception: what reading raises.
        """
        if self._value is not None and SYSTEM_CLOCK.monotonic() < self._until_s:
            return self._value
        if self._task is None:
            self._task = own_task(self._keep(), "resqpy-console-reading")
        task = self._task
        await asyncio.wait({task}, timeout=patience_s)
        if not task.done():
            return self._value
        self._task = None if self._task is task else self._task
        return None if task.cancelled() else task.result()

    async def _keep(self) -> T:
        found = await self._read()
        self._value, self._until_s = found, SYSTEM_CLOCK.monotonic() + self._seconds
        return found

    def forget(self) -> None:
        """Read it again for the next caller, because something was changed."""
        self._value, self._until_s = None, float("-inf")
        self.close()

    def close(self) -> None:
        """Stop reading."""
        task, self._task = self._task, None
        if task is not None:
            task.end()
