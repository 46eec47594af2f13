"""The Python files of a project's folders."""

from __future__ import annotations

import os
from pathlib import Path

from resqpy.framework.problems import Problems


def python_files(folder: Path, problems: Problems, *, deep: bool = False) -> list[Path]:
    """Those in a folder, sorted, but private and hidden ones. A folder that is not there has none; one
    that may not be read is a problem, lest a worker runs on defaults.

    Args:
        deep: those in the folders below as well, and the `__init__.py` of each.
    """

    def unreadable(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            problems.add(f"{type(error).__name__}: {error}", Path(error.filename))

    found: list[Path] = []
    for parent, below, names in os.walk(folder, onerror=unreadable):
        inits = ["__init__.py"] if deep and "__init__.py" in names else []
        found += [Path(parent, name) for name in inits + _public(names) if name.endswith(".py")]
        below[:] = _public(below) if deep else []
    return sorted(found)


def _public(names: list[str]) -> list[str]:
    return [name for name in names if not name.startswith(("_", "."))]
