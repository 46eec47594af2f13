"""Which folder is the project's: this one, or the nearest above that is one, as git and cargo search. Nothing
heavy is imported here: the help asks for it, and every synchronous program that enqueues.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from resqpy.framework.project.layout import has_table, has_task_file

# Where a test runs under our pytest plugin: the URL of the Redis that all projects use, unless their callers
# name another; the last one counts.
REDIS_OF_TESTS: list[Callable[[], str]] = []

CONFIG, CODE = "config", ("tasks", "modules")


def is_project(root: Path) -> bool:
    """Whether a folder has anything of a project in it."""
    folders = any((root / name).is_dir() for name in (CONFIG, *CODE))
    return folders or has_task_file(root) or has_table(root)


def find_root() -> Path:
    """The project's folder as seen from the current one; the current one where none is found.

    The current folder is a project if anything of one is in it. One above must have `[tool.resqpy]` in its
    pyproject.toml, or `config/` beside `tasks/` or `modules/`, since a lone `tasks/` or `config/` up there
    may be anybody's; and its owner must be the same, so that nobody's code is run because he put it into
    /tmp.
    """
    try:
        here = Path.cwd()
        found = Path() if is_project(here) else _above(here)
        return _without_module(here, found)
    except OSError:  # the folder is gone, or may not be read
        return Path()


def project_root() -> Path:
    """The project's folder where nobody names another: that of `RESQPY_ROOT`, else as `find_root` has it."""
    return Path(os.environ.get("RESQPY_ROOT") or find_root())


def modules_of(app: str | None) -> tuple[str, ...] | None:
    """The modules with tasks that `--app` or `RESQPY_APP` names, with commas; None: none are named."""
    return None if app is None else tuple(each.strip() for each in app.split(",") if each.strip())


def _above(here: Path) -> Path:
    owner = here.stat().st_uid
    for folder in here.parents:
        if folder.stat().st_uid != owner:
            break
        if _is_whole(folder):
            return folder
    return Path()


def _is_whole(folder: Path) -> bool:
    usual = (folder / CONFIG).is_dir() and any((folder / name).is_dir() for name in CODE)
    return usual or has_table(folder)


def _without_module(here: Path, found: Path) -> Path:
    """A module's folder looks like a project; it is a part of the one that has it in `modules/`."""
    modules = (here / found).parent
    whole = modules.name == "modules" and _is_whole(modules.parent)
    return modules.parent if whole else found
