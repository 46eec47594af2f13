"""Finds the Python files of a project's directories, and the directories of its modules."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from resqpy.base.imports import near_match
from resqpy.framework.project.problems import Problems


def python_files(folder: Path, problems: Problems, *, deep: bool = False) -> list[Path]:
    """The files in a directory, sorted, without private and hidden ones. A missing directory has none; an
    unreadable one, and a link to nowhere, is a problem, so that no worker runs with less by mistake.

    Args:
        deep: include subdirectories, and the `__init__.py` of each.
    """

    def unreadable(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            problems.add(f"{type(error).__name__}: {error}", Path(error.filename))

    found: list[Path] = []
    seen = set[str]()
    for parent, below, names in os.walk(folder, onerror=unreadable, followlinks=True):
        below[:] = sorted(_public(below)) if deep else []
        if (where := os.path.realpath(parent)) in seen:  # by another link, or round in a circle
            below.clear()
            continue
        seen.add(where)
        inits = ["__init__.py"] if deep and "__init__.py" in names else []
        for path in [Path(parent, name) for name in inits + _public(names)]:
            if not path.exists() and (path.suffix == ".py" or (deep and not path.suffix)):
                problems.add(f"a link to {path.readlink()}, which does not exist", path)
            elif path.suffix == ".py":
                found.append(path)
    return sorted(found)


def _public(names: list[str]) -> list[str]:
    return [name for name in names if not name.startswith(("_", "."))]


def module_folders(root: Path, wanted: Sequence[str], problems: Problems) -> list[Path]:
    """The directories of the modules, as in Stellar, in loading order: `modules/<name>/` has its own
    `tasks/`, `config/`, `initializers/` …. A task of a module that doesn't set its name is called
    `<module>.<name>`.

    Args:
        wanted: `general.modules`: names, and `*` for all others in alphabetical order.
    """
    found = {path.name: path for path in sorted((root / "modules").glob("*")) if _is_module(path)}
    chosen: list[Path] = []
    for name in wanted:
        if name == "*":
            chosen += [path for other, path in found.items() if other not in wanted]
        elif name in found:
            chosen.append(found[name])
        else:
            problems.add(f"general.modules: there is no modules/{name}{near_match(name, found)}")
    return chosen


def _is_module(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith((".", "_"))
