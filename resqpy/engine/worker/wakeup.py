"""What wakes an idle worker: Redis' tracking, the heartbeat, and polling if tracking is not available."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from resqpy.base import codec
from resqpy.base.clock import Clock
from resqpy.base.concurrency.own_tasks import in_own_thread
from resqpy.base.errors import Deposed, ResqpyError, StoreError
from resqpy.engine.options import WorkerOptions
from resqpy.engine.role import EventSink, tell_error
from resqpy.engine.scheduler.election import Leadership
from resqpy.engine.scheduler.rescue import RescueChore
from resqpy.engine.worker.heartbeat import (
    STUCK,
    AfterBeat,
    Beat,
    Between,
    Heartbeat,
    Obey,
    Vitals,
    state_of,
)
from resqpy.engine.worker.identity import reads_our_ids
from resqpy.engine.worker.pool import Pool
from resqpy.store.connection.client import RedisClock, Store
from resqpy.store.connection.tracker import Tracker
from resqpy.store.queues import decode_name

# Rescue in a worker process, so that it does not depend on a scheduler.
#
# A heartbeat returns whether something is to be rescued and nobody is there for it; then the process takes a
# lease and, unless a scheduler leads, does the work of the leader's chore. Beside a leader of an older version,
# which can't read the ids of today's workers, it does so for their processes. The lease expires by itself
# soon after its holder has died.

_SEARCH_EVERY_S = 600.0  # only a failover to a replica that lacks something leaves what it finds
_DOUBTS = 4  # rounds after Redis was away: of older data, with which it may be back, a heartbeat sees nothing
_SHORTEST_LEASE_S = 5.0  # a round takes milliseconds; an interrupted one is continued


class Rescuer:
    """Rescues jobs when needed.

    Args:
        name: of this process; unique.
    """

    def __init__(
        self, store: Store, options: WorkerOptions, events: EventSink, name: str, clock: Clock
    ) -> None:
        self._store = store
        self._events = events
        self._token = f"{name}/1"
        self._clock = clock
        self._chore = RescueChore(
            store, options.rescue_after_s, self._tell, search_every_s=_SEARCH_EVERY_S
        )
        self._rests_ms = int(options.rescue_after_s * 1000)
        # not longer: it must not outlive a holder that is killed, for example by the job it took back
        self._lease_ms = max(self._rests_ms, int(_SHORTEST_LEASE_S * 1000))
        self._needed = asyncio.Event()
        self._doubts_until_s = 0.0
        self._connected = self._searches_anew = False

    def _tell(self, event: str, *details: Any) -> None:
        if event == "error":
            tell_error(self._events, *details)
        else:
            self._events.tell(event, None, *details)

    def heard(self, beat: Beat) -> None:
        """Process the result of a heartbeat."""
        if beat.unwatched or self._clock.monotonic() < self._doubts_until_s:
            self._needed.set()

    def connected(self) -> None:
        """Where Redis was away: look, and search, whether or not a heartbeat sees a reason."""
        if self._connected:
            self._doubts_until_s = self._clock.monotonic() + _DOUBTS * self._rests_ms / 1000
            self._searches_anew = True
        self._connected = True

    async def run(self) -> None:
        """Rescue whenever it is needed, until cancelled."""
        while True:
            await self._needed.wait()
            self._needed.clear()
            try:
                await self._round()
            except Deposed:
                continue
            except ResqpyError as error:
                tell_error(self._events, error)

    async def _look(self, leadership: Leadership) -> float:
        """Do the work of the chore, unless a leader does it."""
        [token] = await self._store.call("MGET", self._store.keys.leader)  # nil for another type
        if token is not None and reads_our_ids(decode_name(token)):
            self._chore.searching = False
            return 0.0
        self._chore.beside_older = token is not None
        return await self._chore.run(leadership)

    async def _round(self) -> None:
        lease = self._store.keys.rescuer
        if not await self._store.call("SET", lease, self._token, "NX", "PX", self._lease_ms):
            return
        if self._searches_anew:
            await self._store.call("DEL", self._store.keys.searched)
            self._searches_anew = False
        clock = RedisClock(self._clock)
        clock.note(await self._store.time_us())
        leadership = Leadership(self._store, self._token, (lease,), clock)
        try:
            again_s = await self._look(leadership)
            while self._chore.searching:
                await asyncio.sleep(again_s)
                if await self._store.call("GET", lease) == self._token.encode():
                    await self._store.call("PEXPIRE", lease, self._lease_ms)
                again_s = await self._look(leadership)
        finally:
            await self._store.call("PEXPIRE", lease, self._rests_ms)


class Wakeup:
    """Watches Redis for a pool."""

    def __init__(
        self,
        store: Store,
        pool: Pool,
        options: WorkerOptions,
        events: EventSink,
        clock: Clock,
        on_order: Obey,
        *,
        after_beat: AfterBeat,
    ) -> None:
        self._pool = pool
        self._events = events
        self._timeout_s = options.timeout_s
        self._dead_after_s = options.rescue_after_s
        self._cancel_timeout_s = options.cancel_timeout_s
        self._unheard = 0  # heartbeats that the event loop has not processed yet
        self._names_key, self._pause_key = store.keys.queues.encode(), store.keys.pause.encode()
        self._queue_prefix = store.keys.queue("").encode()
        self._queue_pauses = store.keys.queue_pause("").encode()
        self._loop = asyncio.get_running_loop()
        self.tracker: Tracker = Tracker(
            store,
            pool.queues.prefixes(store.keys),
            on_change=self._on_change,
            on_control=self._on_control,
            on_fallback=self._on_fallback,
        )
        pool.on_recovered = self.tracker.renew  # Redis may be another server now
        self.rescuer: Rescuer = Rescuer(store, options, events, pool.slots.incarnation, clock)
        self.heartbeat: Heartbeat = Heartbeat(
            store.options,
            self._vitals,
            on_beat=self._beaten,
            on_error=partial(self._soon, partial(tell_error, events)),
            interval_s=options.heartbeat_s,
            between=Between(
                on_order, self._is_heard, pool.runner.take_worked, pool.runner.note_waits, after_beat
            ),
        )  # fmt: skip

    def _soon(self, function: Any, *args: Any) -> None:
        """Call on the loop, from another thread; ignored if the loop is closed."""
        try:
            self._loop.call_soon_threadsafe(partial(function, *args))
        except RuntimeError:
            return

    # -- tracking --

    def _on_change(self, changed: list[bytes] | None) -> None:
        if changed is None:
            self.rescuer.connected()
            self._pool.queues_changed(None)
            return
        if self._names_key in changed:
            self._pool.names_changed()
        if self._pause_key in changed:
            self._pool.look()
        if any(key.startswith(self._queue_pauses) for key in changed):
            self._pool.queues_changed(None)  # the pause of a queue is that of its sub-queues, too
            return
        self._pool.queues_changed(
            decode_name(key.removeprefix(self._queue_prefix)) for key in changed
        )

    def _on_control(self, message: bytes) -> None:
        order = codec.decode_lenient(message)
        if isinstance(order, dict) and order.get("look") is True:
            self._pool.queues_changed(None)  # another process has left a place of a limit to us
        if isinstance(order, dict) and self._pool.slots.incarnation in (order.get("orders") or ()):
            self.heartbeat.beat_now()
        if (
            isinstance(order, dict)
            and "fell_back" in order
            and order.get("by") == self._pool.slots.incarnation
        ):
            words = f"{order['fell_back']} fell back to the other language: its runs here failed, or took too long"
            tell_error(self._events, ResqpyError(f"{words}; see resqpy migrate status"))
        if not isinstance(order, dict) or not isinstance(order.get("cancel"), str):
            return
        run_at = order.get("run_at")
        self._pool.cancel(order["cancel"], run_at if isinstance(run_at, str) else None)

    def _on_fallback(self, error: Exception) -> None:
        message = f"Redis can't wake us up ({error}); polling every {self._timeout_s:g} s instead"
        tell_error(self._events, StoreError(message))

    async def poll(self) -> None:
        """Check every `timeout` if Redis can't wake us up."""
        while True:
            await asyncio.sleep(self._timeout_s)
            if not self.tracker.live:
                self._pool.queues_changed(None)

    # -- heartbeat --

    def _is_heard(self) -> bool:
        return not self._unheard

    def _vitals(self) -> Vitals:
        slots = self._pool.slots
        queues = tuple(self._pool.queues.names)
        state = STUCK if self._unheard else state_of(self._pool, self._cancel_timeout_s)
        return Vitals(
            slots.incarnation, slots.worker_ids, slots.started, queues, state, self._dead_after_s
        )

    def _beaten(self, beat: Beat) -> None:
        """Runs in the heartbeat's thread."""
        self._unheard += 1
        self._soon(self._on_beat, beat)

    def _on_beat(self, beat: Beat) -> None:
        self._unheard = 0
        if not self._pool.stopping:
            self.rescuer.heard(beat)
        for slot in self._pool.slots.all:
            self._events.tell("ping", slot, beat.time_s)
        news = beat.paused != self._pool.paused or beat.queues != self._pool.queues.known
        if self._pool.slots.beaten(beat.ids) or news or beat.more_work:
            self._pool.queues_changed(None)
        elif beat.work:
            self._pool.names_changed()
            self._pool.queues_changed(beat.work)

    async def stop(self) -> None:
        """Stop the heartbeat; otherwise it would register removed workers again."""
        await in_own_thread(self.heartbeat.stop)
