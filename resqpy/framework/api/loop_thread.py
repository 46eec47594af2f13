"""An event loop in a thread of its own, for synchronous code; a new one in every forked process.

There is one for the whole process, started when it is first needed, ended when the interpreter ends.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

from resqpy.base.errors import OutcomeUnknown, StoreUnavailable, UsageError

R = TypeVar("R")

_log = logging.getLogger("resqpy")

_CLOSE_WITHIN_S = 5.0


class Life:
    """One loop in one thread of one process.

    Attributes:
        targets: what lives on the loop, by whose it is.
    """

    def __init__(self) -> None:
        self.pid: int = os.getpid()
        self.targets: dict[int, Any] = {}
        self._ending = False
        self.thread: threading.Thread = threading.Thread(
            target=self._main, name="resqpy-blocking", daemon=True
        )
        try:
            self.loop: asyncio.AbstractEventLoop = asyncio.new_event_loop()
        except OSError as error:
            raise _no_thread(error) from error
        try:
            self.thread.start()
        except RuntimeError as error:
            self.loop.close()
            raise _no_thread(error) from error

    def _main(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            while not self._ending:
                self._run()
            self.loop.run_until_complete(self._close())
        finally:
            self.loop.close()

    def _run(self) -> None:
        """Until it is to end: a hook that raises SystemExit, or stops the loop, ends nobody else's calls."""
        try:
            self.loop.run_forever()
        except BaseException:
            _log.exception("something in a hook stopped the loop of the blocking door; it goes on")

    async def _close(self) -> None:
        closing = [target.close() for target in self.targets.values()]
        await asyncio.gather(*closing, return_exceptions=True)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self.loop.shutdown_asyncgens()

    def end(self) -> None:
        """Close everything on the loop, then the loop, then the thread."""
        self._ending = True
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(_CLOSE_WITHIN_S)


def _no_thread(error: Exception) -> StoreUnavailable:
    return StoreUnavailable(
        f"the blocking door can't start its thread: {error}; nothing was done, try again later"
    )


class LoopThread:
    """The loop of this process, whichever process that is."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._life: Life | None = None
        self._left_behind: list[Life] = []
        os.register_at_fork(after_in_child=self._forget)
        atexit.register(self.close)

    def life(self) -> Life:
        """The loop; begun here where this process has none yet."""
        life = self._life
        if life is not None and life.pid == os.getpid() and life.thread.is_alive():
            return life
        with self._lock:
            if self._life is not None and self._life.pid != os.getpid():
                self._forget()  # a fork that told nobody
            if self._life is None or not self._life.thread.is_alive():
                self._life = Life()
            return self._life

    def life_if_any(self) -> Life | None:
        """The loop of this process, where it has one."""
        life = self._life
        return life if life is not None and life.pid == os.getpid() else None

    def start(self, life: Life, function: Callable[[], Coroutine[Any, Any, R]]) -> Future[R]:
        """Run a coroutine on the loop, without waiting for it."""
        coroutine = _begin(function)
        try:
            return asyncio.run_coroutine_threadsafe(coroutine, life.loop)
        except RuntimeError:
            coroutine.close()
            raise StoreUnavailable("the blocking door was closed; nothing was done") from None

    def _forget(self) -> None:
        """In a forked child: the parent's loop has no thread here, and its sockets are the parent's.

        It is kept unused, for closing it would take the parent's sockets out of the parent's loop.
        """
        self._lock = threading.Lock()
        if self._life is not None:
            self._left_behind.append(self._life)
            self._life = None

    def call(
        self, life: Life, function: Callable[[], Coroutine[Any, Any, R]], timeout_s: float
    ) -> R:
        """Run a coroutine on the loop, and wait for its result.

        Raises:
            UsageError: asked on the loop's own thread, where waiting would be for ever.
            OutcomeUnknown: no answer in time; it may or may not have been done.
        """
        if threading.current_thread() is life.thread:
            raise UsageError(
                "the blocking door was used inside one of its own hooks, which would wait for "
                "itself: use the hook's own (async) queue object there"
            )
        future = self.start(life, function)
        try:
            return future.result(timeout_s)
        except CancelledError:
            raise OutcomeUnknown("the blocking door was closed meanwhile") from None
        except TimeoutError:
            if future.done():
                raise
            raise OutcomeUnknown(
                f"no answer within {timeout_s:g} s; it may or may not have been done"
            ) from None
        finally:
            future.cancel()  # nobody waits any more; no matter if it is done

    def close(self) -> None:
        """End the loop; the next call begins another."""
        with self._lock:
            life, self._life = self._life, None
        if life is not None and life.pid == os.getpid():
            life.end()


async def _begin(function: Callable[[], Coroutine[Any, Any, R]]) -> R:
    return await function()


LOOP_THREAD = LoopThread()
