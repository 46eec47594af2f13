"""The locks of all tracked tasks that run in a process, renewed in one batch by a thread of its own,
so that a blocked event loop does not lose them.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable

from resqpy.base.clock import SYSTEM_CLOCK, Clock
from resqpy.base.errors import StoreError
from resqpy.engine.tracked.lock import HeldLock
from resqpy.store import task_locks
from resqpy.store.client import Store
from resqpy.store.options import RedisOptions

_IDLE_S = 2.0  # without a lock, after which the thread ends
_TOGETHER_S = 0.05  # what is due this soon goes with what is due now


class LockKeeper:
    """Keeps locks until they are let go. Its thread begins with the first lock.

    Args:
        options: the Redis; the thread has a connection of its own.
    """

    def __init__(self, options: RedisOptions, clock: Clock = SYSTEM_CLOCK) -> None:
        self._options = options
        self._clock = clock
        self._mutex = threading.Lock()
        self._locks: dict[str, HeldLock] = {}
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken: asyncio.Event | None = None
        self._wakes_at_s = float("inf")
        self._closing = False

    def keep(self, lock: HeldLock) -> None:
        """Renew a lock in time until `let_go`."""
        with self._mutex:
            self._locks[lock.token] = lock
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._main, name="resqpy-task-locks", daemon=True
                )
                self._thread.start()
            elif lock.due_s < self._wakes_at_s:
                self._wake()

    def let_go(self, lock: HeldLock) -> None:
        """Renew it no more."""
        with self._mutex:
            self._locks.pop(lock.token, None)

    def close(self) -> None:
        """Renew nothing any more; returns when the thread is gone."""
        with self._mutex:
            self._closing = True
            self._locks.clear()
            thread = self._thread
            self._wake()
        if thread is not None:
            thread.join(timeout=5.0)

    def _wake(self) -> None:
        if self._loop is not None and self._woken is not None:
            self._loop.call_soon_threadsafe(self._woken.set)

    # -- in the thread --

    def _main(self) -> None:
        asyncio.run(self._renew_until_idle())

    async def _renew_until_idle(self) -> None:
        self._woken = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        store = Store(self._options)
        try:
            while (wait_s := self._until_next()) is not None:
                await self._pause(wait_s)
                await self._renew(store)
        finally:
            await store.close()

    def _until_next(self) -> float | None:
        """Seconds until a lock is due; None: nothing to do any more, the thread ends."""
        now_s = self._clock.monotonic()
        with self._mutex:
            if self._locks and not self._closing:
                self._wakes_at_s = min(lock.due_s for lock in self._locks.values())
                return max(0.0, self._wakes_at_s - now_s)
            if not self._closing and self._wakes_at_s != float("-inf"):
                self._wakes_at_s = float("-inf")  # marks the idle time; any lock wakes us anyway
                return _IDLE_S
            self._thread = self._loop = self._woken = None
            self._wakes_at_s, self._closing = float("inf"), False
            return None

    async def _pause(self, seconds: float) -> None:
        assert self._woken is not None
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return
        self._woken.clear()

    async def _renew(self, store: Store) -> None:
        now_s = self._clock.monotonic()
        with self._mutex:
            due = [lock for lock in self._locks.values() if lock.due_s <= now_s + _TOGETHER_S]
        if not due:
            return
        asked = [lock.ask(now_s + _TOGETHER_S) for lock in due]
        try:
            states = await task_locks.renew(store, asked)
        except StoreError:
            _postpone(due, now_s)
            return
        for lock, question, state in zip(due, asked, states, strict=True):
            lock.heard(question, state, now_s)


def _postpone(locks: Iterable[HeldLock], now_s: float) -> None:
    for lock in locks:
        lock.postpone(now_s)
