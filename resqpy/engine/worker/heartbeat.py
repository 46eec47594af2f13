"""Heartbeats from a thread with its own connection and event loop.

A blocked event loop or a long job can't stop them (only a C extension that holds the interpreter's lock
can). The same script checks for work and for the pause key, so it is also the fallback of the wake-up.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from resqpy.base.clock import SYSTEM_CLOCK, Clock
from resqpy.base.concurrency.loops import HelperThread
from resqpy.base.concurrency.own_tasks import first_of
from resqpy.base.errors import ResqpyError, repr_of
from resqpy.base.model import WorkerId
from resqpy.store import orders, queue_ages, workers
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions
from resqpy.store.repair.junk import Mending

if TYPE_CHECKING:
    from resqpy.engine.worker.pool import Pool
    from resqpy.engine.worker.slots import Slot


# The state of a worker process other than normal operation: published with its heartbeat, so that others
# see it.

WORKING = ""
PAUSED = "paused"  # until somebody resumes it
QUIET = "quiet"  # takes no more jobs, permanently
STOPPING = "stopping"
STUCK = "stuck"  # each slot has a job that should have ended, or the event loop is blocked

WORDS = {
    PAUSED: "paused; the signal CONT resumes it",
    QUIET: "quiet: it takes no more jobs; restart it",
    STOPPING: "stopping: it finishes its jobs",
    STUCK: "stuck: its jobs neither end nor can be cut off; look at its stacks (signal TTIN), then restart it",
}
_GRACE_S = 1.0  # granted to a job after its time limit, besides `cancel_timeout`


def state_of(pool: Pool, cancel_timeout_s: float, clock: Clock = SYSTEM_CLOCK) -> str:
    """The state of a process, from its pool; from any thread."""
    if pool.stopping:
        return STOPPING
    if is_stuck(pool, cancel_timeout_s, clock):
        return STUCK
    if pool.quiet:
        return QUIET if pool.for_good else PAUSED
    return WORKING


def is_stuck(pool: Pool, cancel_timeout_s: float, clock: Clock = SYSTEM_CLOCK) -> bool:
    """Whether no slot will ever take a job by itself."""
    slots, now_s = pool.slots.all, clock.monotonic()
    return bool(slots) and all(
        _overdue(slot, now_s - cancel_timeout_s - _GRACE_S) for slot in slots
    )


def _overdue(slot: Slot, since_s: float) -> bool:
    """Whether its job's time limit was over at a time, and the job is still there."""
    run = slot.run
    if run is None or run.ended or run.definition is None:
        return False
    limit_s = run.definition.time_limit_s
    return limit_s is not None and run.started + limit_s < since_s


Obey = Callable[[str, Mapping[str, Any]], Awaitable[dict[str, Any]]]
AfterBeat = Callable[[Store], Awaitable[None]]

_AGAIN_S = 1.0
_END_WITHIN_S = 5.0
_KEPT_S = 60.0  # how long our state is kept after our last heartbeat


@dataclass(frozen=True, slots=True)
class Beat:
    """What a heartbeat returned.

    Attributes:
        work: queues that have jobs.
        more_work: whether others may have some.
        registered: how many workers had been forgotten.
        queues: how many queues there are.
        ids: for whom it was, and those before it that were not answered.
        unwatched: a rescue is needed, and nobody is there for it.
        orders: those that wait for this process.
    """

    time_s: int
    work: tuple[str, ...]
    more_work: bool
    paused: bool
    registered: int
    queues: int
    ids: tuple[WorkerId, ...]
    unwatched: bool
    orders: tuple[bytes, ...] = ()


@dataclass
class Vitals:
    """The state that the thread publishes; replaced as a whole, never modified."""

    incarnation: str
    ids: tuple[WorkerId, ...]
    started: str
    queues: tuple[str, ...]
    state: str = WORKING
    dead_after_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Between:
    """What is looked for between two beats; all of it is called in the thread.

    Attributes:
        on_order: called with the verb and arguments of an order; its answer.
        is_heard: whether the event loop has taken note of the last beat.
        worked: the queues of the jobs that were begun since the last call.
        on_waits: called once a second while jobs begin, with how long (ms) jobs of these queues wait, as far as
            it is known.
        after_beat: called with the connection after each beat; raises nothing.
    """

    on_order: Obey
    is_heard: Callable[[], bool]
    worked: Callable[[], Sequence[str]]
    on_waits: Callable[[dict[str, int]], None]
    after_beat: AfterBeat


class Heartbeat:
    """The thread.

    Args:
        vitals: called before each beat.
        on_beat: called in the thread with the result.
        on_error: called in the thread when Redis can't be reached.
        between: what is looked for between two beats.
    """

    def __init__(
        self,
        options: RedisOptions,
        vitals: Callable[[], Vitals],
        on_beat: Callable[[Beat], None],
        on_error: Callable[[ResqpyError], None],
        interval_s: float,
        between: Between,
    ) -> None:
        self._options = options
        self._between = between
        self._obeyed: dict[str, dict[str, Any]] = {}  # an answer may get lost
        self._vitals = vitals
        self._on_beat = on_beat
        self._on_error = on_error
        self._interval_s = interval_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event | None = None
        self._told = WORKING
        self._waits_for_loop = self._works = False
        self._unanswered: set[WorkerId] = set()
        self._thread = HelperThread("resqpy-heartbeat", self._beat_until_stopped, self._died)

    def start(self) -> None:
        """Start; the first beat comes after one interval.

        Raises:
            ThreadFailed: its thread can't be started.
        """
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread; returns when it is gone (which never takes long)."""
        self._thread.stop(_END_WITHIN_S)

    def _died(self, error: BaseException) -> None:
        told = ResqpyError(f"the heartbeat's thread died; it is restarted: {repr_of(error)}")
        told.__cause__ = error
        self._on_error(told)

    def beat_now(self) -> None:
        """Beat early, because something has changed. From any thread."""
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
                await self._rest(store, stopping, wake, wait_s)
                wake.clear()
                if stopping.is_set():
                    break
                wait_s = self._interval_s if await self._beat(store) else _AGAIN_S
        finally:
            await store.close()

    async def _rest(
        self, store: Store, stopping: asyncio.Event, wake: asyncio.Event, wait_s: float
    ) -> None:
        """Wait for the next beat; while there is something to look for, in steps."""
        while wait_s > 0:
            step_s = min(wait_s, _AGAIN_S) if self._waits_for_loop or self._works else wait_s
            wait_s -= step_s
            await _any_of(stopping, wake, step_s)
            if stopping.is_set() or wake.is_set():
                return
            with contextlib.suppress(ResqpyError):
                await self._look_between(store)

    async def _look_between(self, store: Store) -> None:
        """A loop that does not answer is not told that orders wait, so look for them; and how long jobs wait."""
        if self._waits_for_loop and self._between.is_heard():
            self._waits_for_loop = False
        elif self._waits_for_loop:
            incarnation = self._vitals().incarnation
            await self._obey(store, incarnation, await orders.waiting(store, incarnation))
        if self._works:
            names = self._between.worked()
            self._works = bool(names)
            self._between.on_waits(await queue_ages.waits(store, names) if names else {})

    async def _obey(self, store: Store, incarnation: str, raws: Sequence[bytes]) -> None:
        """Obey orders, each once, and answer them."""
        for raw in raws:
            order = orders.read(raw)
            if order is None:
                await orders.drop(store, incarnation, raw)
                continue
            if order.id not in self._obeyed:
                self._obeyed[order.id] = await self._answer_to(store, order)
            await orders.answer(store, incarnation, order, self._obeyed[order.id])
            del self._obeyed[order.id]

    async def _answer_to(self, store: Store, order: orders.Order) -> dict[str, Any]:
        if await store.time_us() // 1000 > order.until_ms:
            return {"error": "the order came too late"}
        try:
            return await self._between.on_order(order.verb, order.args)
        except Exception as error:  # of users' code, too; the thread must survive
            return {"error": str(error) or repr_of(error)}

    async def _tell(self, store: Store, incarnation: str, state: str) -> None:
        """Publish our state unless it is normal operation, which costs no round trip."""
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
            self._waits_for_loop = self._works = True
            self._on_beat(replace(answer, ids=ids))
            await self._tell(store, vitals.incarnation, vitals.state)
            await self._obey(store, vitals.incarnation, answer.orders)
            await self._between.after_beat(store)
        except ResqpyError as error:
            self._on_error(error)
            return False
        except Exception as error:  # the thread must survive
            self._on_error(ResqpyError(f"a heartbeat failed: {repr_of(error)}"))
            return False
        return True


async def _any_of(stopping: asyncio.Event, wake: asyncio.Event, within_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await first_of(stopping.wait(), wake.wait())


async def beat(store: Store, vitals: Vitals) -> Beat:
    """One heartbeat. One round trip."""
    keys, args = workers.beat_call(
        store,
        vitals.incarnation,
        vitals.ids,
        vitals.started,
        vitals.queues,
        dead_after_s=vitals.dead_after_s,
    )
    reply = await store.run("beat", keys, args)
    seconds, _, places, more, paused, registered, queues, unwatched, waiting = reply
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
        tuple(orders.lines(waiting)),
    )
