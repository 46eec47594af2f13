"""`api.tasks`."""

from __future__ import annotations

from typing import ClassVar

from resqpy.framework.api import Bound
from resqpy.framework.initializer import Initializer
from resqpy.framework.project import Project
from resqpy.framework.tasks_api import TasksApi


class TasksInitializer(Initializer):
    """The verbs on the project's tasks."""

    name: ClassVar[str] = "tasks"
    load_priority: ClassVar[int] = 210
    start_priority: ClassVar[int] = 8900

    def __init__(self, project: Project, bound: Bound) -> None:
        self._project = project
        self._bound = bound

    def initialize(self) -> TasksApi:
        """Make it."""
        return TasksApi(self._project.registry, self._bound.things["resque"])
