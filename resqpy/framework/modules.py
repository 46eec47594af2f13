"""Modules, as in Stellar: `modules/<name>/` has its own `tasks/`, `config/`, `initializers/` ….

A task of a module that doesn't name itself is called `<module>.<name>`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from resqpy.base.imports import near_match
from resqpy.framework.problems import Problems


def module_folders(root: Path, wanted: Sequence[str], problems: Problems) -> list[Path]:
    """The folders of the modules, in the order in which they are loaded.

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
