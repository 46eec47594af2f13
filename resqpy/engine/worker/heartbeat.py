"""Signs of life from a thread with a connection and an event loop of its own.

A blocked event loop or a long job can't stop them (only a C extension that keeps the interpreter's
lock can). The same script looks for work and for the pause key, so it is also the safety net of the
wake-up.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from resqpy.base.concurrency.helper_thread import HelperThread
from resqpy.base.concurrency.waiting import first_of
from resqpy.base.error_text import repr_of
from resqpy.base.errors import ResqpyError
from resqpy.base.model import WorkerId
from resqpy.engine.worker.process_state import WORKING
from resqpy.store import workers
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions
from resqpy.store.repair.junk import Mending

_AGAIN_S = 1.0
_END_WITHIN_S = 5.0
_KEPT_S = 60.0  # that our state is kept when we are not heard of any more


@dataclass(frozen=True, slots=True)
class Beat:
    """What a sign of life brought back.

    Attributes:
        work: queues that have jobs.
        more_work: there may be others.
        registered: how many workers had been forgotten.
        queues: how many queues there are.
        ids: for whom it was, and those before it that were not answered.
        unwatched: nobody has looked for dead processes of late.
    """

    time_s: int
    work: tuple[str, ...]
    more_work: bool
    paused: bool
    registered: int
    queues: int
    ids: tuple[WorkerId, ...]
    unwatched: bool


@dataclass
class Vitals:
    """What the thread tells of us; replaced as a whole, never changed in place."""

    incarnation: str
    ids: tuple[WorkerId, ...]
    started: str
    queues: tuple[str, ...]
    state: str = WORKING


class Heartbeat:
    """The thread.

    Args:
        vitals: asked before each beat.
        on_beat: called in the thread with what came back.
        on_error: called in the thread when Redis can't be reached.
    """

    def __init__(
        self,
        options: RedisOptions,
        vitals: Callable[[], Vitals],
        on_beat: Callable[[Beat], None],
        on_error: Callable[[ResqpyError], None],
        interval_s: float,
    ) -> None:
        self._options = options
        self._vitals = vitals
        self._on_beat = on_beat
        self._on_error = on_error
        self._interval_s = interval_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event | None = None
        self._told = WORKING
        self._unanswered: set[WorkerId] = set()
        self._thread = HelperThread("resqpy-heartbeat", self._beat_until_stopped, self._died)

    def start(self) -> None:
        """Begin to beat; the first beat is one interval away.

        Raises:
            ThreadFailed: there can be no thread for it.
        """
        self._thread.start()

    def stop(self) -> None:
        """End the thread; returns when it is gone (it is in the middle of nothing for long)."""
        self._thread.stop(_END_WITHIN_S)

    def _died(self, error: BaseException) -> None:
        told = ResqpyError(f"the heartbeat's thread died; restarting it: {repr_of(error)}")
        told.__cause__ = error
        self._on_error(told)

    def beat_now(self) -> None:
        """Beat before its time: there is something to tell. From any thread."""
        if self._loop is not None and self._wake is not None:
            with contextlib.suppress(RuntimeError):  # its loop is closed: it has ended
                self._loop.call_soon_threadsafe(self._wake.set)

    async def _beat_until_stopped(self, stopping: asyncio.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._wake = wake = asyncio.Event()
        store = Store(self._options)
        store.mending = Mending(store, leading=False)
        wait_s = self._interval_s
        try:
            while True:
                await _any_of(stopping, wake, wait_s)
                wake.clear()
                if stopping.is_set():
                    break
                wait_s = self._interval_s if await self._beat(store) else _AGAIN_S
        finally:
            await store.close()

    async def _tell(self, store: Store, incarnation: str, state: str) -> None:
        """Tell of our state where it is not just working; it costs a round trip then, and else none."""
        if state or self._told:
            keep_s = max(_KEPT_S, 5 * self._interval_s)
            await workers.tell_state(store, incarnation, state, keep_s)
            self._told = state

    async def _beat(self, store: Store) -> bool:
        try:
            vitals = self._vitals()
            self._unanswered.update(vitals.ids)
            answer = await beat(store, vitals)
            ids, self._unanswered = tuple(self._unanswered), set()
            self._on_beat(replace(answer, ids=ids))
            await self._tell(store, vitals.incarnation, vitals.state)
        except ResqpyError as error:
            self._on_error(error)
            return False
        except Exception as error:  # the thread must not die of it
            self._on_error(ResqpyError(f"a heartbeat failed: {repr_of(error)}"))
            return False
        return True


async def _any_of(stopping: asyncio.Event, wake: asyncio.Event, within_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await first_of(stopping.wait(), wake.wait())


async def beat(store: Store, vitals: Vitals) -> Beat:
    """One sign of life. One round trip."""
    keys, args = workers.beat_call(
        store, vitals.incarnation, vitals.ids, vitals.started, vitals.queues
    )
    reply = await store.run("beat", keys, args)
    seconds, _, places, more, paused, registered, queues, unwatched = reply
    work = tuple(vitals.queues[place - 1] for place in places)
    return Beat(
        int(seconds),
        work,
        bool(more),
        bool(paused),
        registered,
        queues,
        vitals.ids,
        bool(unwatched),
    )
