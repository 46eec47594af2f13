"""What shells complete besides commands and options: the names of the project's tasks."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout

import click

from resqpy.cli.settings import Settings


def task_names(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Those that begin so. What a file of the project prints is not for the shell, and a project that
    is broken has no names to offer: a command will say what is wrong with it.
    """
    from resqpy.framework.project import Project

    if ctx.params.get("inputs"):  # the name is there; what follows are inputs
        return []
    settings = ctx.ensure_object(Settings)
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        project = Project.load(settings.root, settings.environment)
    return [name for name in sorted(project.registry.tasks) if name.startswith(incomplete)]
