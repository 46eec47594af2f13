"""The locks of all tracked tasks that run in a process, renewed in batches by a separate thread, so that a
blocked event loop does not lose them.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterable

from resqpy.base.clock import SYSTEM_CLOCK, Clock
from resqpy.base.concurrency.helper_thread import HelperThread, ThreadFailed
from resqpy.base.concurrency.waiting import is_set_within
from resqpy.base.errors import StoreError
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions
from resqpy.tracked import locks
from resqpy.tracked.locks import HeldLock
from resqpy.tracked.processing import Processing

_log = logging.getLogger("resqpy.tracked")

_NEVER, _IDLE = float("inf"), float("-inf")  # instead of a time
_AGAIN_S = 1.0  # before another attempt to start the thread
_END_WITHIN_S = 5.0
_IDLE_S = 2.0  # without a lock, after which the thread ends
_TOGETHER_S = 0.05  # locks due this soon are renewed together with those due now
_AFTER_S = 0.001  # so that a timer that fires slightly early still finds the lock expired


class LockKeeper:
    """Renews locks until they are released. Its thread starts with the first lock.

    Args:
        options: the Redis; the thread has its own connection.
    """

    def __init__(self, options: RedisOptions, clock: Clock = SYSTEM_CLOCK) -> None:
        self._options = options
        self._clock = clock
        self._mutex = threading.Lock()
        self._locks: dict[str, HeldLock] = {}
        self._helper: HelperThread | None = None  # None: it has nothing to do
        self._woken: asyncio.Event | None = None
        self._wakes_at_s = _NEVER

    def keep(self, lock: HeldLock) -> None:
        """Renew a lock in time until `let_go`."""
        with self._mutex:
            self._locks[lock.token] = lock
            if self._helper is None:
                self._begin()
            elif lock.due_s < self._wakes_at_s:
                self._wake(self._helper)

    def let_go(self, lock: HeldLock) -> None:
        """Stop renewing it."""
        with self._mutex:
            self._locks.pop(lock.token, None)

    def close(self) -> None:
        """Stop renewing everything; returns when the thread is gone."""
        with self._mutex:
            self._locks.clear()
            helper, self._helper = self._helper, None
        if helper is not None:
            helper.stop(0)
            self._wake(helper)
            helper.stop(_END_WITHIN_S)

    def _begin(self) -> None:
        """Start the thread, retrying if that fails. Call with the mutex held."""
        helper = HelperThread("resqpy-task-locks", self._renew_until_idle, _tell_death)
        self._helper, self._wakes_at_s = helper, _NEVER
        try:
            helper.start()
        except ThreadFailed as error:
            self._helper = None
            _log.error("locks of tracked tasks are not being renewed: %s", error)
            asyncio.get_running_loop().call_later(_AGAIN_S, self._begin_again)

    def _begin_again(self) -> None:
        with self._mutex:
            if self._locks and self._helper is None:
                self._begin()

    def _wake(self, helper: HelperThread) -> None:
        if self._woken is not None:
            helper.call(self._woken.set)

    # -- in the thread --

    async def _renew_until_idle(self, stopping: asyncio.Event) -> None:
        self._woken = woken = asyncio.Event()
        store = Store(self._options)
        try:
            while not stopping.is_set() and (wait_s := self._until_next()) is not None:
                await is_set_within(woken, wait_s)
                woken.clear()
                await self._renew(store)
        finally:
            await store.close()

    def _until_next(self) -> float | None:
        """Seconds until a lock is due; None: there is nothing to do, the thread ends."""
        now_s = self._clock.monotonic()
        with self._mutex:
            if self._locks:
                self._wakes_at_s = min(lock.due_s for lock in self._locks.values())
                return max(0.0, self._wakes_at_s - now_s)
            if self._wakes_at_s != _IDLE:
                self._wakes_at_s = _IDLE  # any lock wakes us
                return _IDLE_S
            self._helper, self._wakes_at_s = None, _NEVER
            return None

    async def _renew(self, store: Store) -> None:
        now_s = self._clock.monotonic()
        with self._mutex:
            due = [lock for lock in self._locks.values() if lock.due_s <= now_s + _TOGETHER_S]
        if not due:
            return
        asked = [lock.ask(now_s + _TOGETHER_S) for lock in due]
        try:
            states = await locks.renew(store, asked)
        except StoreError:
            _postpone(due, now_s)
            return
        for lock, question, state in zip(due, asked, states, strict=True):
            lock.heard(question, state, now_s)


def _tell_death(error: BaseException) -> None:
    _log.error("the thread that renews locks died; restarting it", exc_info=error)


def _postpone(locks: Iterable[HeldLock], now_s: float) -> None:
    for lock in locks:
        lock.postpone(now_s)


class LockWatch:
    """Notifies the processing of tracked tasks when their locks expire, with one timer per process: one per
    lock would cost more than the run of a small task.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._watched: set[Processing] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._at_s = _NEVER

    def add(self, processing: Processing) -> None:
        """Watch it until its lock expires."""
        self._watched.add(processing)
        if processing.lock_until_s < self._at_s:
            self._set_timer(processing.lock_until_s)

    def remove(self, processing: Processing) -> None:
        """Stop watching it; the timer may fire for nothing."""
        self._watched.discard(processing)

    def _set_timer(self, at_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        wait_s = max(0.0, at_s - self._clock.monotonic()) + _AFTER_S
        self._at_s = at_s
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._look)

    def _look(self) -> None:
        self._timer, self._at_s = None, _NEVER
        for processing in tuple(self._watched):
            if not processing.lose_if_over():
                self._watched.discard(processing)
        if self._watched:
            self._set_timer(min(each.lock_until_s for each in self._watched))
