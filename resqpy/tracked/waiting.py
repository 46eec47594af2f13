"""Waiting for the end of a tracked task: events tell that something happened, its record what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from resqpy.base.errors import StoreUnavailable
from resqpy.store.client import Store
from resqpy.tracked import records
from resqpy.tracked.ending import error_from_dict
from resqpy.tracked.errors import UnknownTaskId
from resqpy.tracked.events import ANY, CONNECTED, TaskEvents
from resqpy.tracked.record import LastRun, Record, TaskStatus, but

_LOOK_EVERY_S = 5.0  # should an event be lost
_FINAL = {f"task_{each.value}": each for each in TaskStatus if each.final}


class Waiting:
    """Waits for tasks: all who wait in one process share one connection."""

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
            f"the task {record.id!r} is gone: it was removed, or had ended already and is not kept "
            "(retain_for)"
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
    """A record that is not kept after its end, as far as the event tells how that was."""
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
