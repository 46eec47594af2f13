"""Redis: first to come, last to go."""

from __future__ import annotations

from typing import ClassVar

from resqpy.base.waiting import in_own_thread
from resqpy.base.when import Duration
from resqpy.framework.initializer import Initializer
from resqpy.framework.project import Project
from resqpy.store.client import Store


class RedisInitializer(Initializer):
    """The connection of all parts of this process."""

    name: ClassVar[str] = "redis"
    load_priority: ClassVar[int] = 100
    stop_priority: ClassVar[int] = 99_999
    start_timeout: ClassVar[Duration | None] = None
    stop_timeout: ClassVar[Duration | None] = None

    def __init__(self, project: Project) -> None:
        self._project = project
        self._store: Store | None = None

    async def initialize(self) -> Store:
        """Reach Redis; an embedded one may have to be started, which blocks, so in a thread."""
        options = await in_own_thread(self._project.connection)
        self._store = Store(options)
        try:
            await self._store.connect()
        except BaseException:  # what did not begin is not stopped by anybody else
            await self.stop()
            raise
        return self._store

    async def stop(self) -> None:
        """Close."""
        if self._store is not None:
            await self._store.close()
        await in_own_thread(self._project.close)
