"""What all parts of the `Inspector` share: the queue object whose Redis they look at."""

from __future__ import annotations

from resqpy.engine.client import Client, Connection
from resqpy.engine.queue import Queue

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
        self.store = self._queue.store
        self.clock = self._queue.clock
