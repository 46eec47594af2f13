"""What `resqpy doctor` finds in the project's own files."""

from __future__ import annotations

from resqpy.cli.folder import is_project
from resqpy.cli.problem import Problem
from resqpy.cli.settings import Settings


def project_problems(settings: Settings) -> list[Problem]:
    """What keeps the project from being loaded, and what in it is allowed and hardly meant."""
    if not is_project(settings.root):
        return []
    from resqpy.framework.project import Project

    project = Project.load(settings.root, settings.environment, settings.parsed())
    wrong = [Problem("project", str(each)) for each in project.errors]
    return wrong + [Problem("project", str(each), grave=False) for each in project.warnings]
