"""The enqueue hooks of a task whose job the leader enqueues by itself.

Locks are asked in the script that enqueues. Hooks of one's own run before it, so **they run at least
once**: a leader that dies in between leaves the job to its successor, which runs them again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from resqpy.base.own_tasks import raise_if_cancelled
from resqpy.engine.plugin import Enqueuing
from resqpy.engine.queue import Queue
from resqpy.store.queues import Guard


class Pushing:
    """Asks and tells the hooks.

    Args:
        queue: has the tasks.
        emit: the scheduler's.
    """

    def __init__(self, queue: Queue, emit: Callable[..., None]) -> None:
        self._queue = queue
        self._emit = emit

    def guards(self, queue: str, name: str, args: Sequence[Any]) -> Sequence[Guard]:
        """The locks that are asked in the script."""
        return self._queue.guards(queue, name, args)

    async def allowed(self, queue: str, name: str, args: Sequence[Any]) -> bool:
        """Whether the hooks allow it; a hook that raises does not."""
        try:
            return await self._queue.before_enqueue(self._context(queue, name, args))
        except BaseException as error:
            raise_if_cancelled(error)
            self._emit("error", error)
            return False

    async def enqueued(self, queue: str, name: str, args: Sequence[Any], at_ms: int) -> None:
        """Tell the hooks and the listeners of `enqueue` (ms, job)."""
        self._emit("enqueue", at_ms, {"class": name, "queue": queue, "args": list(args)})
        try:
            await self._queue.after_enqueue(self._context(queue, name, args))
        except BaseException as error:
            raise_if_cancelled(error)
            self._emit("error", error)

    def _context(self, queue: str, name: str, args: Sequence[Any]) -> Enqueuing:
        return Enqueuing(name, queue, list(args), self._queue)
