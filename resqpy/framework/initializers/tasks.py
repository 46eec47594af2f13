"""`api.tasks`; and the periodic tasks of a process that works but has no scheduler of its own."""

from __future__ import annotations

import asyncio
import contextlib
from typing import ClassVar

from resqpy.base.errors import OutcomeUnknown, StoreUnavailable
from resqpy.base.own_tasks import OwnTask, own_task
from resqpy.base.when import Duration
from resqpy.framework.api import Bound
from resqpy.framework.initializer import Initializer
from resqpy.framework.log import get_logger
from resqpy.framework.project import Project
from resqpy.framework.resque import Resque
from resqpy.framework.tasks_api import TasksApi
from resqpy.schedules.announcing import Announcer


class TasksInitializer(Initializer):
    """The verbs on the project's tasks."""

    name: ClassVar[str] = "tasks"
    load_priority: ClassVar[int] = 210
    start_priority: ClassVar[int] = 8900
    stop_priority: ClassVar[int] = 90
    start_timeout: ClassVar[Duration | None] = None
    stop_timeout: ClassVar[Duration | None] = None

    def __init__(self, project: Project, bound: Bound) -> None:
        self._project = project
        self._bound = bound
        self._announcing: OwnTask[None] | None = None

    def initialize(self) -> TasksApi:
        """Make it."""
        return TasksApi(self._project.registry, self._resque)

    @property
    def _resque(self) -> Resque:
        resque: Resque = self._bound.things["resque"]
        return resque

    async def start(self) -> None:
        """Announce the periodic tasks, as a scheduler does for its own process: another process' may
        lead, and need not have our code.
        """
        resque = self._resque
        if resque.multi_worker is None or resque.scheduler is not None:
            return
        tasks = resque.recurrent.tasks
        if not tasks:
            return
        announcer = Announcer(resque.store, tasks, _announcing_failed)
        self._announcing = own_task(announcer.run(), "announce periodic tasks")

    async def stop(self) -> None:
        """Announce no more."""
        if self._announcing is not None:
            self._announcing.end()
            with contextlib.suppress(asyncio.CancelledError):
                await self._announcing


def _announcing_failed(error: Exception) -> None:
    if isinstance(error, StoreUnavailable | OutcomeUnknown):
        return  # told once for all parts (initializers/redis.py)
    get_logger().warning("could not announce the periodic tasks", error=str(error))
