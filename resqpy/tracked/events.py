"""Events of tracked tasks, anywhere on this Redis, emitted in this process; and waiting for a task's end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Self

from resqpy.base import codec
from resqpy.base.concurrency.own_tasks import OwnTask, own_task
from resqpy.base.errors import StoreUnavailable
from resqpy.base.events import Emitter
from resqpy.store.connection.client import Store
from resqpy.store.connection.tracker import Subscription
from resqpy.tracked import records
from resqpy.tracked.errors import UnknownTaskId
from resqpy.tracked.record import LastRun, Record, TaskStatus, but, error_from_dict

ANY = "any"
CONNECTED = "connected"
_LOOK_EVERY_S = 5.0  # in case an event was lost
_FINAL = {f"task_{each.value}": each for each in TaskStatus if each.final}


class TaskEvents(Emitter):
    """Emits `task_created`, `task_pending`, `task_running`, …, `task_failed`, `task_removed` with the
    event's content, and `any` with type and content; `connected` when it listens again after Redis was
    unreachable, because events may have been missed. An async context manager.

    `task_failed` has exactly the content of Extra Horizon's event: id, functionName, error (type, name,
    message).
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
        channels = {store.keys.events.encode(): self._hand_on}
        self._subscription = Subscription(store, channels, self._connected)
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
        """Return once it is listening; earlier events are not emitted."""
        if self._task is None:
            self._task = own_task(self._subscription.run(), "events of tracked tasks")
        await self._listens.wait()

    async def stop(self) -> None:
        """Stop listening."""
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


class Waiting:
    """Waits for tasks: all waits in one process share one connection."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._events = TaskEvents(store)
        self._changing = asyncio.Lock()
        self._waiters = 0

    async def until_ended(self, record: Record) -> Record:
        """The record of a task as soon as it has ended.

        Raises:
            UnknownTaskId: it was removed before it ended.
        """
        if (ended := await self._ended(record, {})) is not None:
            return ended
        heard = asyncio.Event()
        told: dict[str, Any] = {}

        def hear(kind: str, content: Any) -> None:
            if isinstance(content, dict) and content.get("id") == record.id:
                told.update({kind: content})
                heard.set()

        async with self._listening() as events:
            events.on(ANY, hear)
            events.on(CONNECTED, heard.set)
            try:
                while (ended := await self._ended(record, told)) is None:
                    heard.clear()
                    await _any_of(heard)
                return ended
            finally:
                events.off(ANY, hear)
                events.off(CONNECTED, heard.set)

    async def _ended(self, record: Record, told: dict[str, Any]) -> Record | None:
        try:
            now = await records.get(self._store, record.id)
        except StoreUnavailable:  # it may be back in time
            return None
        if now is not None:
            return now if now.status.final else None
        for kind, status in _FINAL.items():
            if kind in told:
                return _gone(record, status, told[kind])
        raise UnknownTaskId(
            f"the task {record.id!r} is gone: it was removed, or had already ended and is not kept (retain_for)"
        )

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[TaskEvents]:
        self._waiters += 1
        try:
            async with self._changing:
                await self._events.start()
            yield self._events
        finally:
            self._waiters -= 1
            async with self._changing:
                if not self._waiters:
                    await self._events.stop()


async def _any_of(heard: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(_LOOK_EVERY_S):
            await heard.wait()
    except TimeoutError:
        return


def _gone(record: Record, status: TaskStatus, content: dict[str, Any]) -> Record:
    """A record that is not kept after its end, reconstructed from the event."""
    error, now_ms = content.get("error"), record.updated_us // 1000
    return but(
        record,
        status=status,
        lock=None,
        next_run_ms=None,
        cancelled_ms=now_ms if status is TaskStatus.CANCELLED else None,
        last_run=LastRun(now_ms, now_ms, status is TaskStatus.COMPLETED),
        error=error_from_dict(error) if isinstance(error, dict) else None,
    )
