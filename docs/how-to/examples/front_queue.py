"""Another queue in place of ours: one that can also enqueue at the front, with all hooks and locks.

    # config/tasks.py
    def default():
        return {"resque_overrides": {"queue": "lib.front_queue.FrontQueue"}}

    # anywhere
    await api.resque.queue.enqueue_in_front("default", "sendWelcomeEmail", [{"to": "…"}])

(ActionHero's page builds `enqueueFront` by hand, as its queue had none. Ours has `enqueue_front`; what
this adds is a note of who jumped the queue.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from resqpy import Resque


class FrontQueue(Resque):
    """Our queue, and one verb more."""

    async def enqueue_in_front(self, queue: str, class_name: str, args: Sequence[Any] = ()) -> bool:
        """Put a job at the head of a queue, and remember that it jumped."""
        enqueued = await self.enqueue_front(queue, class_name, args)
        if enqueued:
            self.jumped.append(class_name)
        return enqueued

    @property
    def jumped(self) -> list[str]:
        """The tasks whose jobs jumped the queue, in this process."""
        jumped: list[str] = self.__dict__.setdefault("_jumped", [])
        return jumped
