"""Rescue in a worker process, so that it does not depend on a scheduler.

A heartbeat returns whether nobody has checked for dead processes recently; then the process takes a lease
and, unless a scheduler leads, does the work of the leader's chore. Beside a leader of an older version,
which can't read the ids of today's workers, it does so for their processes. The lease expires by itself
soon after its holder has died.
"""

from __future__ import annotations

import asyncio
from typing import Any

from resqpy.base.clock import Clock
from resqpy.base.errors import Deposed, ResqpyError
from resqpy.engine.event_sink import EventSink, tell_error
from resqpy.engine.options import WorkerOptions
from resqpy.engine.scheduler.election import Leadership
from resqpy.engine.scheduler.redis_clock import RedisClock
from resqpy.engine.scheduler.rescue import RescueChore
from resqpy.engine.worker.heartbeat import Beat
from resqpy.engine.worker.identity import reads_our_ids
from resqpy.store.connection.client import Store
from resqpy.store.queues import decode_name

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
        self._chore = RescueChore(store, options.rescue_after_s, self._tell)
        self._rests_ms = int(options.rescue_after_s * 1000)
        # not longer: it must not outlive a holder that is killed, for example by the job it took back
        self._lease_ms = max(self._rests_ms, int(_SHORTEST_LEASE_S * 1000))
        self._needed = asyncio.Event()

    def _tell(self, event: str, *details: Any) -> None:
        if event == "error":
            tell_error(self._events, *details)
        else:
            self._events.tell(event, None, *details)

    def heard(self, beat: Beat) -> None:
        """Process the result of a heartbeat."""
        if beat.unwatched:
            self._needed.set()

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
