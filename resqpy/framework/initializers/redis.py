"""Redis: first to come, last to go."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from resqpy.base.waiting import in_own_thread
from resqpy.base.when import Duration
from resqpy.engine.role import within_limit
from resqpy.framework.initializer import Initializer
from resqpy.framework.log import get_logger
from resqpy.framework.project import Project
from resqpy.store.address import place_of
from resqpy.store.client import Store
from resqpy.store.reach import reach
from resqpy.store.reachability import Away, Back

_CLOSE_S = 2.0  # that what is in flight gets at the end


class RedisInitializer(Initializer):
    """The connection of all parts of this process.

    Args:
        patient: wait for Redis.
    """

    name: ClassVar[str] = "redis"
    load_priority: ClassVar[int] = 100
    stop_priority: ClassVar[int] = 99_999
    start_timeout: ClassVar[Duration | None] = None
    stop_timeout: ClassVar[Duration | None] = None

    def __init__(self, project: Project, *, patient: bool = True) -> None:
        self._project = project
        self._patient = patient
        self._store: Store | None = None

    async def initialize(self) -> Store:
        """Reach Redis; an embedded one may have to be started, which blocks, so in a thread."""
        options = await in_own_thread(self._project.connection)
        self._store = Store(options)
        try:
            if self._patient:  # else somebody sits before it, who gets the error
                options.reachability.listen(partial(_tell, place_of(options)))
                await reach(self._store)
            else:
                await self._store.connect()
        except BaseException:  # what did not begin is not stopped by anybody else
            await self.stop()
            raise
        return self._store

    async def stop(self) -> None:
        """Close."""
        if self._store is not None:
            await within_limit(_CLOSE_S, "closing the connection to Redis", self._store.close())
        await in_own_thread(self._project.close)


def _tell(place: str, change: Away | Back) -> None:
    """One line when Redis goes, and one when it is back, whoever has noticed."""
    if isinstance(change, Back):
        get_logger().warning(f"{place} is there again", away_s=round(change.away_s, 1))
        return
    if change.within_s == 0:  # who has asked is told
        return
    words = f"{place} can't work now" if change.refused else f"cannot reach {place}"
    limit = "" if change.within_s is None else f" for up to {change.within_s:g} s"
    write = get_logger().error if change.within_s is None else get_logger().warning
    write(f"{words}; retrying{limit}", error=str(change.error))
