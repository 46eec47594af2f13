"""What happens to tracked tasks, anywhere on this Redis, as events in this process."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, Self

from resqpy.base import codec
from resqpy.base.events import Emitter
from resqpy.base.own_tasks import OwnTask, own_task
from resqpy.store.client import Store
from resqpy.store.subscription import Subscription
from resqpy.tracked.record import TaskStatus

ANY = "any"
CONNECTED = "connected"


class TaskEvents(Emitter):
    """Emits `task_created`, `task_pending`, `task_running`, …, `task_failed`, `task_removed` with the
    event's content, and `any` with type and content; `connected` when it listens again after Redis
    was away, for then something may have been missed. An async context.

    `task_failed` has exactly the content of Extra Horizon's event: id, functionName, error (type,
    name, message).
    """

    EVENTS: ClassVar[frozenset[str]] = frozenset(
        {
            ANY,
            CONNECTED,
            "task_created",
            "task_removed",
            *(f"task_{status}" for status in TaskStatus),
        }
    )

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._subscription = Subscription(
            store, store.keys.events, self._hand_on, on_connect=self._connected
        )
        self._listens = asyncio.Event()
        self._task: OwnTask[None] | None = None

    def _connected(self) -> None:
        if self._listens.is_set():
            self.emit(CONNECTED)
        self._listens.set()

    def _hand_on(self, message: bytes) -> None:
        event: Any = codec.decode_lenient(message)
        if isinstance(event, dict) and isinstance(event.get("type"), str):
            self.emit(event["type"], event.get("content"))
            self.emit(ANY, event["type"], event.get("content"))

    async def start(self) -> None:
        """Return when it listens; what happened before is not told."""
        if self._task is None:
            self._task = own_task(self._subscription.run(), "events of tracked tasks")
        await self._listens.wait()

    async def stop(self) -> None:
        """Listen no more."""
        task, self._task = self._task, None
        if task is not None:
            task.end()
            await asyncio.wait([task])
        self._listens.clear()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
