"""What every long-lived part of a process has in common: start, side tasks, stop.

Side tasks belong to one task group: one that dies ends the role loudly, it is never swallowed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, ClassVar, Self

from resqpy.base.errors import PoolStateError, StoreError
from resqpy.base.events import Emitter
from resqpy.engine.client import Connection, as_store
from resqpy.store.client import Store
from resqpy.store.junk import Mending


class Role(Emitter):
    """A part that is started and stopped: worker or scheduler."""

    leads: ClassVar[bool] = False  # whether it touches the keys of schedulers

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        store, self._owns_store = as_store(connection)
        self.store: Store = store
        self.running: bool = False
        self._main: asyncio.Task[None] | None = None
        self._side: list[Coroutine[Any, Any, None]] = []

    async def connect(self) -> None:
        """Reach Redis, to say early what is wrong with it."""
        await self.store.connect()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Connect and begin; a second call is an error.

        Raises:
            PoolStateError: it runs already.
            StoreError: Redis can't be reached or used.
        """
        if self.running:
            raise PoolStateError(f"this {type(self).__name__} was started already")
        self.running = True
        try:
            await self.connect()
            await self._set_junk_aside()
            await self._begin()
        except BaseException:
            self.running = False
            await self._close_store()
            raise
        self._main = asyncio.create_task(self._group(self._side), name=type(self).__name__)
        self._side = []

    async def _set_junk_aside(self) -> None:
        """Move what stands where keys of ours are to be out of the way, now and later."""
        before = self.store.mending
        leading = self.leads or (isinstance(before, Mending) and before.leading)
        self.store.mending = mending = Mending(self.store, leading=leading)
        for words in await mending():
            self._trouble(StoreError(words))

    def _trouble(self, error: Exception) -> None:
        """Tell of an error that concerns all of us."""
        raise NotImplementedError

    async def _group(self, coroutines: list[Coroutine[Any, Any, None]]) -> None:
        async with asyncio.TaskGroup() as group:
            for each in coroutines:
                group.create_task(each)

    def aside(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine beside the others until the role stops; for `_begin`."""
        self._side.append(coroutine)

    async def _begin(self) -> None:
        """Set up, and name the side tasks by `aside`."""
        raise NotImplementedError

    async def stop(self) -> None:
        """End in order; calling it twice does no harm."""
        raise NotImplementedError

    async def end(self) -> None:
        """node-resque's name for `stop`."""
        await self.stop()

    async def wait(self) -> None:
        """Return when the role has stopped; raise what killed it, if something did."""
        if self._main is not None:
            await asyncio.wait([self._main])
            if not self._main.cancelled():
                self._main.result()

    async def _end_side_tasks(self) -> None:
        main = self._main
        if main is not None and not main.done():
            main.cancel()
            await asyncio.wait([main])
        for each in self._side:
            each.close()
        self._side = []

    async def _close_store(self) -> None:
        if self._owns_store:
            await self.store.close()
