"""Plain functions run in threads, bounded in number, with their context kept."""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any


class ThreadRunner:
    """Threads for plain functions.

    A thread can't be cancelled as a coroutine can: an error is raised in it, which Python code
    meets at its next step and a call into C only when it returns. Who has waited long enough for
    that goes on without the thread; its place is made good, so that no later job waits for it.

    Args:
        most: how many functions run at the same time.
    """

    def __init__(self, most: int) -> None:
        self._executor = ThreadPoolExecutor(most, thread_name_prefix="resqpy")
        self._most = most
        self._abandoned = 0

    def set_most(self, most: int) -> None:
        """Change how many run at the same time; more, never fewer."""
        self._most = max(most, self._most)
        self._resize()

    def _resize(self) -> None:
        self._executor._max_workers = self._most + self._abandoned  # noqa: SLF001 - read at each submit; there is no setter

    async def run(self, function: Callable[..., Any], args: list[Any]) -> Any:
        """Call it in a thread; a cancellation is passed on to the thread."""
        call = _Call(function, args)
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._executor, call)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            call.interrupt()
            await self._wait_for(future)
            raise

    async def _wait_for(self, future: asyncio.Future[Any]) -> None:
        done, _ = await asyncio.wait([future], timeout=1.0)
        if done:
            future.exception()
            return
        self._abandoned += 1
        self._resize()
        future.add_done_callback(self._came_back)

    def _came_back(self, future: asyncio.Future[Any]) -> None:
        self._abandoned -= 1
        if not future.cancelled():
            future.exception()

    def close(self) -> None:
        """Start no more; what runs is not waited for."""
        self._executor.shutdown(wait=False, cancel_futures=True)


class Interrupted(BaseException):
    """Raised in a thread whose job was cancelled or ran out of time."""


class _Call:
    """One call in a thread, with the caller's context."""

    def __init__(self, function: Callable[..., Any], args: list[Any]) -> None:
        self._function = function
        self._args = args
        self._context = contextvars.copy_context()
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._cancelled = False

    def __call__(self) -> Any:
        with self._lock:
            if self._cancelled:
                return None
            self._thread = threading.get_ident()
        try:
            return self._context.run(self._function, *self._args)
        except Interrupted:
            return None
        finally:
            with self._lock:
                self._thread = None

    def interrupt(self) -> None:
        """Raise `Interrupted` where the thread is now."""
        with self._lock:
            self._cancelled = True
            if self._thread is not None:
                raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
                raise_in(ctypes.c_ulong(self._thread), ctypes.py_object(Interrupted))
