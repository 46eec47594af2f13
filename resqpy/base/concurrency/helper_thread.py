"""Helper threads with an event loop: started within a time limit, restarted when they die, deaths reported.

If the process is out of descriptors or threads, starting raises an error with the cause; it never waits
forever.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from resqpy.base.errors import ResqpyError

_START_WITHIN_S = 10.0
_FIRST_PAUSE_S, _MAX_PAUSE_S = 0.5, 30.0  # before a thread that died is restarted


class ThreadFailed(ResqpyError):
    """A helper thread could not be started."""


class HelperThread:
    """One helper thread.

    Args:
        name: the thread's name.
        work: runs until the event it receives is set, or until it has nothing more to do.
        on_death: called in the thread with the error that `work` raised, before it is restarted.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[asyncio.Event], Coroutine[Any, Any, None]],
        on_death: Callable[[BaseException], None],
    ) -> None:
        self._name = name
        self._work = work
        self._on_death = on_death
        self._ready = threading.Event()
        self._stop_asked = threading.Event()
        self._failed: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)

    @property
    def alive(self) -> bool:
        """Whether it is running."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread.

        Raises:
            ThreadFailed: it could not be started, and why.
        """
        try:
            self._thread.start()
        except (RuntimeError, MemoryError) as error:
            raise ThreadFailed(f"cannot start the thread {self._name}: {error}") from error
        if not self._ready.wait(_START_WITHIN_S):
            self._stop_asked.set()
            raise ThreadFailed(
                f"the thread {self._name} did not start within {_START_WITHIN_S:g} s"
            )
        if self._failed is not None:
            raise ThreadFailed(
                f"cannot start the thread {self._name}: {self._failed}"
            ) from self._failed

    def stop(self, within_s: float) -> None:
        """Stop it, waiting at most this long."""
        self._stop_asked.set()
        if self._stopping is not None:
            self.call(self._stopping.set)
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(within_s)

    def call(self, function: Callable[[], object]) -> None:
        """Call a function on its loop, if it has one now."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(function)

    # -- in the thread --

    def _main(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while not self._stop_asked.is_set():
            try:
                with asyncio.Runner() as runner:
                    runner.get_loop()  # fails when the process is out of descriptors
                    runner.run(self._live())
            except BaseException as error:
                if not self._ready.is_set():
                    self._failed = error
                    self._ready.set()
                    return
                self._on_death(error)
            else:
                return
            self._stop_asked.wait(pause_s)
            pause_s = min(pause_s * 2, _MAX_PAUSE_S)

    async def _live(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        if self._stop_asked.is_set():
            return
        self._ready.set()
        await self._work(self._stopping)
