"""Common base of all parts of the `Inspector`: the queue object whose Redis they read."""

from __future__ import annotations

from resqpy.base.clock import Clock, test_ms
from resqpy.engine.queue.queue import Queue
from resqpy.engine.role import Client, Connection
from resqpy.store.connection.client import Store

QueueOrConnection = Queue | Connection


class Inspecting(Client):
    """Base of the parts.

    Args:
        queue: a `Queue`, whose connection and plugins are shared; or a `Store`, `RedisOptions` or
            URL, for a connection of its own.
    """

    def __init__(self, queue: QueueOrConnection = None) -> None:
        if isinstance(queue, Queue):
            self._queue = queue
        else:
            self._queue = self._owned = Queue(queue)
        self.store: Store = self._queue.store
        self.clock: Clock = self._queue.clock

    async def now_ms(self) -> int:
        """Redis' time, with which everything inspected was written (or that of a test's clock), in
        milliseconds since the epoch.
        """
        told = test_ms(self.clock)
        return await self.store.time_us() // 1000 if told is None else told
