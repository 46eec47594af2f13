"""`resqpy new`."""

from __future__ import annotations

from pathlib import Path

import click

from resqpy.base.imports import own_version
from resqpy.cli.arguments.flags import option
from resqpy.cli.group import command
from resqpy.cli.output import printing as output
from resqpy.cli.output.printing import Exit
from resqpy.cli.scaffold.writing import Name, Writer, render, templates_below

# What a project has besides tasks, tests and config.
EXTRA = {
    "plugins/": "code around the run of single tasks",
    "initializers/": "what is set up when a process starts",
    "deploy/": "systemd, Kubernetes, Redis users: examples with matching stop times",
    "wheels/": "what Docker and CI install from here: put resqpy's wheel into it",
}
_OPTIONAL = (*EXTRA, "Dockerfile", "compose.yaml", ".dockerignore", ".github/")


@command(project=False)
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@option("--name", metavar="NAME", help="The project's name (default: the directory's).")
@option("--minimal", is_flag=True, help="Only tasks, tests and config.")
@option(
    "--force", is_flag=True, help="Write into a folder that is not empty, but over no file in it."
)
@option("--dry-run", is_flag=True, help="Only show what would be written.")
def new(directory: Path, *, name: str | None, minimal: bool, force: bool, dry_run: bool) -> None:
    """Create a project: tasks with tests, config, and deployment examples.

    It passes its own lint, types and tests immediately.
    """
    if not force and directory.is_dir() and any(_visible(directory)):
        raise output.fail(
            Exit.NO,
            f"{directory} is not empty; --force writes there all the same, over no file, and `resqpy init` "
            "makes a project of an application that is there",
        )
    project = Name.of(
        name or directory.resolve().name, "use --name to give the project another one"
    )
    values = _stop_times() | {
        "name": project.snake.replace("_", "-"),
        "version": own_version(),
        "map": "" if minimal else "".join(f"| `{f}` | {words} |\n" for f, words in EXTRA.items()),
        "folders": "" if minimal else " plugins initializers",
    }
    remedy = "move it away, or take another folder; nothing was written"
    writer = Writer(directory, dry_run=dry_run, remedy=remedy)
    for path in templates_below("project"):
        if not (minimal and path.startswith(_OPTIONAL)):
            writer.add(path, render(f"project/{path}", values))
    writer.write()
    if not output.wants_json():
        _tell_next(directory)


_MARGIN_MS = 8000  # for the other parts of a stop: initializers, a slow Redis


def _stop_times() -> dict[str, str]:
    """How long jobs get at a stop, and how long the service manager must wait: the same numbers in all files."""
    from resqpy.framework.config.sections import TasksConfig

    defaults = TasksConfig()
    patience_ms = defaults.stop_timeout + defaults.cancel_timeout + _MARGIN_MS
    return {
        "stop_timeout": f"{defaults.stop_timeout:_}",
        "stop_s": f"{defaults.stop_timeout // 1000}",
        "grace_s": f"{patience_ms // 1000}",
    }


def _visible(directory: Path) -> list[Path]:
    """The content of a directory except `.git` and the like."""
    return [path for path in directory.iterdir() if not path.name.startswith(".")]


def _tell_next(directory: Path) -> None:
    output.say_block(
        f"""
  tasks/   what runs in the background: a plain, a delayed and a periodic task
  tests/   their tests, on a real Redis that is started for them
  config/  settings, with comments

Next:

  cd {directory}
  resqpy start

"""
    )
