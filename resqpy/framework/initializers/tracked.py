"""`api.tracked`."""

from __future__ import annotations

from typing import ClassVar

from resqpy.base.when import Duration
from resqpy.framework.api import Bound
from resqpy.framework.initializer import Initializer
from resqpy.framework.project import Project
from resqpy.framework.tracking import TrackedApi


class TrackedInitializer(Initializer):
    """The verbs of tracked tasks, and the handlers that user code registers."""

    name: ClassVar[str] = "tracked"
    load_priority: ClassVar[int] = 220
    start_priority: ClassVar[int] = 8950
    stop_priority: ClassVar[int] = 90
    start_timeout: ClassVar[Duration | None] = None
    stop_timeout: ClassVar[Duration | None] = 30_000

    def __init__(self, project: Project, bound: Bound) -> None:
        self._project = project
        self._bound = bound
        self._tracked: TrackedApi | None = None

    def initialize(self) -> TrackedApi:
        """Make it; user code may register handlers before it starts."""
        resque = self._bound.things["resque"]
        self._tracked = TrackedApi(
            resque.store,
            self._project.registry,
            defaults=self._project.config.tasks.tracked_preset,
            keeper=resque.task_locks,
            interceptors=resque.task_interceptors,
        )
        return self._tracked

    async def start(self) -> None:
        """Begin to run tasks that have a handler in this process."""
        if self._tracked is not None:
            await self._tracked.start()

    async def stop(self) -> None:
        """Release what runs."""
        if self._tracked is not None:
            await self._tracked.stop()
