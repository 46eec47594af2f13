"""What a test's project leaves in the interpreter: its folder on the module path, its modules."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType


@contextmanager
def module_path_as_before(*projects: Path) -> Iterator[None]:
    """Leave the module path as it was, and no module of the projects below these folders.

    Two tests' projects have files of the same names: while `tasks.mail` of one is in the
    interpreter, another's `from tasks.mail import …` gets that one, whatever the module path says.
    """
    path, before = list(sys.path), set(sys.modules)
    try:
        yield
    finally:
        new = {name: sys.modules[name] for name in set(sys.modules) - before}
        # All are asked before one goes: a namespace package asks its parent for its path.
        for name in [name for name, each in new.items() if _is_of(projects, name, each)]:
            del sys.modules[name]
        sys.path[:] = path


def _is_of(folders: Iterable[Path], name: str, module: ModuleType) -> bool:
    """Whether its file is in one of these folders; a namespace package has no file, only a path."""
    if name.startswith("_resqpy"):
        return True
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
    found = [Path(each) for each in places if isinstance(each, str)]
    return any(each.is_relative_to(folder) for each in found for folder in folders)
