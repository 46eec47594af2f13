"""What all parts of the `Inspector` share: the queue object whose Redis they look at."""

from __future__ import annotations

from typing import Self

from resqpy.base.clock import Clock
from resqpy.engine.queue import Queue
from resqpy.engine.role import Connection
from resqpy.store.client import Store

QueueOrConnection = Queue | Connection


class Inspecting:
    """Base of the parts.

    Args:
        queue: a `Queue`, whose connection and plugins are shared; or a `Store`, `RedisOptions` or
            URL, for a connection of its own.
    """

    store: Store
    clock: Clock

    def __init__(self, queue: QueueOrConnection = None) -> None:
        self._owns_queue = not isinstance(queue, Queue)
        self._queue = queue if isinstance(queue, Queue) else Queue(queue)
        self.store = self._queue.store
        self.clock = self._queue.clock

    async def connect(self) -> None:
        """Reach Redis, to say early what is wrong with it."""
        await self.store.connect()

    async def close(self) -> None:
        """Close the connection, if it is our own."""
        if self._owns_queue:
            await self._queue.close()

    async def end(self) -> None:
        """node-resque's name for `close`."""
        await self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
