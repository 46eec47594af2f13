"""What `resqpy doctor` finds in the project's own files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resqpy.cli.folder import is_project
from resqpy.cli.problem import Problem
from resqpy.cli.settings import Settings

if TYPE_CHECKING:
    from resqpy.framework.project import Project


def loaded_project(settings: Settings) -> Project | None:
    """The project with whatever is wrong in it; None: the folder is none."""
    if not is_project(settings.root):
        return None
    from resqpy.framework.project import Project

    return Project.load(settings.root, settings.environment, settings.parsed())


def project_problems(project: Project) -> list[Problem]:
    """What keeps the project from being loaded, and what in it is allowed and hardly meant."""
    wrong = [Problem("project", str(each)) for each in project.errors]
    return wrong + [Problem("project", str(each), grave=False) for each in project.warnings]
