"""Finds what a project consists of: tasks, plugins, middleware and initializers, in files below its
folder and in installed packages. All that is wrong is collected, nothing is raised.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from resqpy.base.errors import UsageError
from resqpy.base.imports import import_entry_points, import_file, near_match
from resqpy.engine.plugin import Plugin
from resqpy.framework.initializer import Initializer
from resqpy.framework.middleware import Middleware
from resqpy.framework.problems import Problems, line_of
from resqpy.framework.registry import Registry
from resqpy.framework.spec import SpecBuilder, written
from resqpy.framework.task import PROPERTIES, FunctionTask, Task, is_definition

_UNEXPECTED = re.compile(r"^task\(\) got an unexpected keyword argument '(\w+)'")


class Loader:
    """Loads a project into a registry.

    Args:
        timezone: of cron tasks that name none.
    """

    def __init__(self, root: Path, problems: Problems, timezone: str = "UTC") -> None:
        self.registry = Registry()
        self._root = root
        self._problems = problems
        self._timezone = timezone

    def load_project(self, modules: list[Path]) -> None:
        """Load the project's folders, then those of its modules."""
        folders: list[tuple[Path, str | None]] = [(self._root, None)]
        folders += [(folder, folder.name) for folder in modules]
        for folder, _ in folders:
            self._load_parts(folder)
        for folder, module in folders:
            for path, loaded in self._files(folder / "tasks"):
                self._add_tasks(loaded, path, module)

    def load_packages(self) -> None:
        """Load what installed packages bring by entry points."""
        for group, add in (
            ("resqpy.plugins", self._add_plugin),
            ("resqpy.initializers", self._add_initializer),
        ):
            for label, found in import_entry_points(group):
                self._guarded(label, found, add)
        for label, found in import_entry_points("resqpy.tasks"):
            self._guarded(label, found, self._add_packaged_tasks)

    def _guarded(self, label: str, found: Any, add: Callable[[Any], None]) -> None:
        if isinstance(found, Exception):
            self._problems.add(str(found))
            return
        try:
            add(found)
        except UsageError as error:
            self._problems.add(f"entry point {label}: {error}")

    # -- files --

    def _files(self, folder: Path) -> Iterator[tuple[Path, ModuleType]]:
        for path in sorted(folder.rglob("*.py")):
            inner = path.relative_to(folder).parts
            if any(part.startswith(("_", ".")) for part in inner):
                continue
            name = ".".join(("_resqpy", self._root.name, *path.relative_to(self._root).parts))
            try:
                yield path, import_file(path, name.removesuffix(".py"))
            except Exception as error:  # a user's file may raise anything
                self._complain_of_file(error, path)

    def _complain_of_file(self, error: Exception, path: Path) -> None:
        if found := _UNEXPECTED.match(str(error)):
            hint = near_match(found[1], PROPERTIES)
            error = TypeError(f"{error}{hint}").with_traceback(error.__traceback__)
        self._problems.add_error(error, path)

    def _load_parts(self, folder: Path) -> None:
        """Plugins, middleware and initializers: they stand before the tasks that name them."""
        registry = self.registry
        parts: list[tuple[str, type, Callable[[Any], None]]] = [
            ("plugins", Plugin, self._add_plugin),
            ("middleware", Middleware, registry.middleware.add),
            ("initializers", Initializer, self._add_initializer),
        ]
        for name, base, add in parts:
            for path, loaded in self._files(folder / name):
                for found in _own_classes(loaded, base):
                    self._add_part(found, path, add)

    def _add_part(self, found: type, path: Path, add: Callable[[Any], None]) -> None:
        try:
            add(found)
        except Exception as error:  # a user's constructor may raise anything
            words = str(error) if isinstance(error, UsageError) else repr(error)
            self._problems.add(words, path, line_of(path, found.__qualname__))

    def _add_plugin(self, plugin: type[Plugin]) -> None:
        self.registry.plugins[plugin.__name__] = plugin

    def _add_initializer(self, initializer: Any) -> None:
        if not (isinstance(initializer, type) and issubclass(initializer, Initializer)):
            raise UsageError(f"{initializer!r} is not a class derived from Initializer")
        self.registry.initializers.append(initializer)

    # -- tasks --

    def _add_tasks(self, loaded: ModuleType, path: Path, module: str | None) -> None:
        for defined in _own_tasks(loaded):
            self._add_task(defined, path, module)

    def _add_packaged_tasks(self, found: Any) -> None:
        definitions = _own_tasks(found) if isinstance(found, ModuleType) else [found]
        for defined in definitions:
            if not is_definition(defined):
                raise UsageError(f"{defined!r} is neither a task nor a module with tasks")
            home = defined.function if isinstance(defined, FunctionTask) else defined
            file = getattr(sys.modules.get(home.__module__), "__file__", None)
            self._add_task(defined, Path(file or home.__module__), None)

    def _add_task(self, defined: Any, path: Path, module: str | None) -> None:
        try:
            task = written(defined)
        except Exception as error:  # a task's constructor may raise anything
            self._problems.add(
                f"{defined!r} can't be made: {error!r}", path, line_of(path, defined.__qualname__)
            )
            return
        complain = partial(self._complain_of_task, path, task.qualname)
        builder = SpecBuilder(task, complain, self._timezone)
        line = line_of(path, task.qualname)
        if (spec := builder.build(file=path, line=line, module=module)) is not None:
            self.registry.add(spec, complain)

    def _complain_of_task(self, path: Path, qualname: str, name: str | None, message: str) -> None:
        self._problems.add(message, path, line_of(path, qualname, name))


def _own_classes(module: ModuleType, base: type) -> list[type]:
    """The classes that a file defines, not those that it imports."""
    return [
        value
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, base)
        and value.__module__ == module.__name__
        and not name.startswith("_")
    ]


def _own_tasks(module: ModuleType) -> list[Any]:
    """The tasks that a file defines; a class without `run` that others derive from is none."""
    classes = _own_classes(module, Task)
    functions = [
        value
        for value in vars(module).values()
        if isinstance(value, FunctionTask) and value.function.__module__ == module.__name__
    ]
    bases = {base for each in classes for base in each.__mro__[1:]}
    return [
        *(each for each in classes if each not in bases or hasattr(each, "run")),
        *functions,
    ]
