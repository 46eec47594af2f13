"""What wakes an idle worker: Redis' tracking, the heartbeat, and polling if tracking is not available."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from resqpy.base import codec
from resqpy.base.clock import Clock
from resqpy.base.concurrency.waiting import in_own_thread
from resqpy.base.errors import StoreError
from resqpy.engine.event_sink import EventSink, tell_error
from resqpy.engine.options import WorkerOptions
from resqpy.engine.worker.heartbeat import Beat, Heartbeat, Vitals
from resqpy.engine.worker.pool import Pool
from resqpy.engine.worker.process_state import STUCK, state_of
from resqpy.engine.worker.rescuer import Rescuer
from resqpy.store.connection.client import Store
from resqpy.store.connection.tracker import Tracker
from resqpy.store.queues import decode_name


class Wakeup:
    """Watches Redis for a pool."""

    def __init__(
        self, store: Store, pool: Pool, options: WorkerOptions, events: EventSink, clock: Clock
    ) -> None:
        self._pool = pool
        self._events = events
        self._timeout_s = options.timeout_s
        self._cancel_timeout_s = options.cancel_timeout_s
        self._unheard = 0  # heartbeats that the event loop has not processed yet
        self._names_key, self._pause_key = store.keys.queues.encode(), store.keys.pause.encode()
        self._queue_prefix = store.keys.queue("").encode()
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
        )

    def _soon(self, function: Any, *args: Any) -> None:
        """Call on the loop, from another thread; ignored if the loop is closed."""
        try:
            self._loop.call_soon_threadsafe(partial(function, *args))
        except RuntimeError:
            return

    # -- tracking --

    def _on_change(self, changed: list[bytes] | None) -> None:
        if changed is None:
            self._pool.queues_changed(None)
            return
        if self._names_key in changed:
            self._pool.names_changed()
        if self._pause_key in changed:
            self._pool.look()
        self._pool.queues_changed(
            decode_name(key.removeprefix(self._queue_prefix)) for key in changed
        )

    def _on_control(self, message: bytes) -> None:
        order = codec.decode_lenient(message)
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

    def _vitals(self) -> Vitals:
        slots = self._pool.slots
        queues = tuple(self._pool.queues.names)
        state = STUCK if self._unheard else state_of(self._pool, self._cancel_timeout_s)
        return Vitals(slots.incarnation, slots.worker_ids, slots.started, queues, state)

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
