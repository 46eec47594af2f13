"""An event loop in a separate thread, for synchronous code; a new one in every forked process.

There is one per process, started on first use, ended when the interpreter ends.
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
        targets: the objects that live on the loop, by owner.
    """

    thread: threading.Thread | None = None

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop: asyncio.AbstractEventLoop = loop
        self.pid: int = os.getpid()
        self.targets: dict[int, Any] = {}

    @property
    def gone(self) -> bool:
        """Whether nothing can be done there any more."""
        return self.pid != os.getpid() or self.loop.is_closed()


class OthersLife(Life):
    """A loop that somebody else runs, in another thread."""


class OwnLife(Life):
    """One whose thread is there for it, once it has begun; what is asked for before waits for that."""

    thread: threading.Thread

    def __init__(self) -> None:
        try:
            super().__init__(asyncio.new_event_loop())
        except OSError as error:
            raise _no_thread(error) from error
        self._begun = self._ending = False
        self.thread = threading.Thread(target=self._main, name="resqpy-blocking", daemon=True)

    @property
    def gone(self) -> bool:
        """Whether nothing can be done there any more."""
        return super().gone or (self._begun and not self.thread.is_alive())

    def begin(self) -> None:
        """Start the thread.

        Raises:
            StoreUnavailable: there can be none.
        """
        try:
            self.thread.start()
        except RuntimeError as error:
            self.loop.close()
            raise _no_thread(error) from error
        self._begun = True

    def _main(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            while not self._ending:
                self._run()
            self.loop.run_until_complete(self._close())
        finally:
            self.loop.close()

    def _run(self) -> None:
        """Runs until it is stopped: a hook that raises SystemExit, or stops the loop, doesn't end other calls."""
        try:
            self.loop.run_forever()
        except BaseException:
            _log.exception("code in a hook stopped the loop of the synchronous API; it continues")

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
        f"cannot start the thread of the synchronous API: {error}; nothing was done, try again later"
    )


class LoopThread:
    """The loop of the current process, also after a fork."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._life: OwnLife | None = None
        self._left_behind: list[OwnLife] = []
        os.register_at_fork(after_in_child=self._forget)
        atexit.register(self.close)

    def life(self) -> OwnLife:
        """The loop; begun here where this process has none yet."""
        life = self._life
        if life is not None and not life.gone:
            return life
        with self._lock:  # nothing in here may wait: greenlets share it in their one thread
            if self._life is not None and self._life.pid != os.getpid():
                self._forget()  # a fork that told nobody
            if self._life is not None and not self._life.gone:
                return self._life
            life = self._life = OwnLife()
        life.begin()
        return life

    def life_if_any(self) -> OwnLife | None:
        """The loop of this process, where it has one."""
        life = self._life
        return life if life is not None and life.pid == os.getpid() else None

    def start(self, life: Life, function: Callable[[], Coroutine[Any, Any, R]]) -> Future[R]:
        """Start a coroutine on the loop, without waiting for it."""
        coroutine = _begin(function)
        try:
            return asyncio.run_coroutine_threadsafe(coroutine, life.loop)
        except RuntimeError:
            coroutine.close()
            raise StoreUnavailable("the synchronous API was closed; nothing was done") from None

    def _forget(self) -> None:
        """In a forked child: the parent's loop has no thread here, and its sockets are the parent's.

        It is kept, unused: closing it would close the parent's sockets in the parent's loop.
        """
        self._lock = threading.Lock()
        if self._life is not None:
            self._left_behind.append(self._life)
            self._life = None

    def call(
        self, life: Life, function: Callable[[], Coroutine[Any, Any, R]], timeout_s: float | None
    ) -> R:
        """Run a coroutine on the loop, and wait for its result.

        Raises:
            UsageError: called on the loop's own thread, which would wait forever.
            OutcomeUnknown: no answer in time; it may or may not have been done.
        """
        if threading.current_thread() is life.thread:
            raise UsageError(
                "the synchronous API was used inside one of its own hooks, which would wait for itself: use "
                "the hook's own (async) queue object there"
            )
        future = self.start(life, function)
        try:
            return future.result(timeout_s)
        except CancelledError:
            raise OutcomeUnknown("the synchronous API was closed during the call") from None
        except TimeoutError:
            if future.done():
                raise
            raise OutcomeUnknown(
                f"no answer within {timeout_s:g} s; it may or may not have been done"
            ) from None
        finally:
            future.cancel()  # nobody waits any more, even if it is done

    def close(self) -> None:
        """Stop the loop; the next call starts another."""
        with self._lock:
            life, self._life = self._life, None
        if life is not None and life.pid == os.getpid():
            life.end()


async def _begin(function: Callable[[], Coroutine[Any, Any, R]]) -> R:
    return await function()


LOOP_THREAD = LoopThread()
