"""What happens, as it happens, for all who watch: one subscription and one poll of Redis in a process, and only
while somebody watches.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.concurrency.own_tasks import OwnTask, first_of, own_task
from resqpy.base.errors import StoreError, StoreUnavailable
from resqpy.store.connection.client import Store
from resqpy.store.overview import Numbers
from resqpy.tracked.events import ANY, CONNECTED, TaskEvents

MOST = 100  # watchers of a process
COUNTS, TASK, RESYNC, END = "counts", "task", "resync", "end"
_BEHIND = 1000  # events that a slow watcher may be behind
_LEAST_S = 2.0  # between two polls; more where they cost much
_COST_FACTOR = 50
_WITHIN_S = 5.0  # until the subscription must stand

Event = tuple[str, Mapping[str, Any]]


class Watcher:
    """Who watches.

    Attributes:
        waiting: what it has not been given yet; one that is too far behind gets `resync` instead.
    """

    def __init__(self) -> None:
        self.waiting: asyncio.Queue[Event] = asyncio.Queue(_BEHIND)

    def put(self, event: Event) -> None:
        """Give it an event."""
        if self.waiting.full():
            while not self.waiting.empty():
                self.waiting.get_nowait()
            event = (RESYNC, {"why": "this stream was too slow"})
        self.waiting.put_nowait(event)


class LiveEvents:
    """Tells watchers of tracked tasks (`task`), of changed numbers (`counts`), and that something may have been
    missed (`resync`).

    Args:
        numbers: reads those of the installation, as pages show them.
        on_news: called before watchers are told of numbers, or that something may have been missed.
    """

    def __init__(
        self,
        store: Store,
        numbers: Callable[[], Awaitable[Numbers]],
        on_news: Callable[[], None] = lambda: None,
    ) -> None:
        self._numbers = numbers
        self._on_news = on_news
        self._watchers: set[Watcher] = set()
        self._changing = asyncio.Lock()
        self._poll: OwnTask[None] | None = None
        self._events = TaskEvents(store)
        self._events.on(ANY, self._task)
        self._events.on(CONNECTED, self._missed)
        self._counts: Mapping[str, Any] = {}
        self._over = asyncio.Event()

    @property
    def ended(self) -> bool:
        """Whether the process stops."""
        return self._over.is_set()

    @property
    def full(self) -> bool:
        """Whether nobody else may watch."""
        return len(self._watchers) >= MOST

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[Watcher]:
        """Watch within this block.

        Raises:
            StoreUnavailable: Redis can't be reached.
        """
        watcher = Watcher()
        self._watchers.add(watcher)
        try:
            async with self._changing:
                await self._begin()
            if self._counts:
                watcher.put((COUNTS, self._counts))
            yield watcher
        finally:
            self._watchers.discard(watcher)
            async with self._changing:
                if not self._watchers:
                    await self._stop()

    def end(self) -> None:
        """End all streams: the process stops."""
        self._over.set()
        self._tell((END, {}))

    async def _begin(self) -> None:
        if self._poll is not None:
            return
        try:
            async with asyncio.timeout(_WITHIN_S):
                # a stream that is about to begin must not wait for Redis at the end
                await first_of(self._events.start(), self._over.wait())
        except TimeoutError as error:
            await self._events.stop()
            raise StoreUnavailable("cannot subscribe to events: Redis can't be reached") from error
        self._poll = own_task(self._polling(), "counts for the console")

    async def _stop(self) -> None:
        poll, self._poll, self._counts = self._poll, None, {}
        if poll is not None:
            poll.end()
            await asyncio.wait([poll])
        await self._events.stop()

    def _tell(self, event: Event) -> None:
        for each in self._watchers:
            each.put(event)

    def _task(self, kind: str, content: Any) -> None:
        self._tell((TASK, {"type": kind, "content": content}))

    def _missed(self) -> None:
        self._on_news()
        self._tell((RESYNC, {"why": "the connection to Redis was lost"}))

    async def _polling(self) -> None:
        while True:
            began_s = SYSTEM_CLOCK.monotonic()
            try:
                counts = await self._look()
            except StoreError:  # it says so by `resync`, once it is back
                counts = self._counts
            if counts != self._counts:
                self._counts = counts
                self._on_news()
                self._tell((COUNTS, counts))
            cost_s = SYSTEM_CLOCK.monotonic() - began_s
            await asyncio.sleep(max(_LEAST_S, _COST_FACTOR * cost_s))

    async def _look(self) -> Mapping[str, Any]:
        found = await self._numbers()
        return {
            "waiting": sum(found.queues.values()),
            "failed": sum(found.failed.values()),
            "delayed_times": found.delayed,
            "workers": found.workers,
            "processed": found.stats["processed"],
            "failures": found.stats["failed"],
        }
