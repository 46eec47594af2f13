"""What `GET /metrics` answers on `process.health_port`. Without a port nothing is counted."""

from __future__ import annotations

from typing import ClassVar

from resqpy.base import prometheus
from resqpy.base.own_tasks import OwnTask, own_task
from resqpy.base.when import Duration
from resqpy.framework.api import Bound
from resqpy.framework.initializer import Initializer
from resqpy.framework.installation_metrics import Installation
from resqpy.framework.metrics import JobCounts, LoopDelay, of_parts
from resqpy.framework.project import Project
from resqpy.framework.resque import Resque


class MetricsInitializer(Initializer):
    """Listens to the worker from before it starts."""

    name: ClassVar[str] = "metrics"
    load_priority: ClassVar[int] = 210
    stop_priority: ClassVar[int] = 99_000
    start_timeout: ClassVar[Duration | None] = None
    stop_timeout: ClassVar[Duration | None] = None

    def __init__(self, project: Project, bound: Bound) -> None:
        self._project = project
        self._bound = bound
        self._resque: Resque | None = None
        self._jobs = JobCounts(project.registry.definitions)
        self._delay = LoopDelay()
        self._watching: OwnTask[None] | None = None
        self._installation: Installation | None = None

    def initialize(self) -> None:
        """Listen to the worker's events."""
        if self._project.config.process.health_port is None:
            return
        self._resque = resque = self._bound.things["resque"]
        self._installation = Installation(resque.store)
        self._watching = own_task(self._delay.watch())
        if resque.multi_worker is not None:
            self._jobs.follow(resque.multi_worker)

    def stop(self) -> None:
        """Watch the loop no more, and leave Redis, which goes next."""
        self._installation = None
        if self._watching is not None:
            self._watching.end()

    async def text(self) -> bytes:
        """All metrics, of this process and of what is in Redis."""
        found = [*of_parts(self._resque), *self._jobs.metrics(), *self._delay.metrics()]
        if self._installation is not None:
            found += await self._installation.metrics()
        return prometheus.render(found)
