"""Finds what a project consists of: tasks, plugins, middleware and initializers, in files below its
folder and in installed packages. All that is wrong is collected, nothing is raised.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from resqpy.base.errors import ImportFailed, UsageError
from resqpy.base.imports import Brought, import_entry_points, import_file
from resqpy.engine.plugin import ENQUEUE_HOOKS, PERFORM_HOOKS, Plugin
from resqpy.framework.files import python_files
from resqpy.framework.initializer import Initializer, check_initializer
from resqpy.framework.middleware import Middleware
from resqpy.framework.misspelled import misspelled
from resqpy.framework.problems import Problems, line_of, lines_of_all
from resqpy.framework.registry import Registry
from resqpy.framework.spec_builder import SpecBuilder
from resqpy.framework.task import FunctionTask, Task, is_definition
from resqpy.framework.written import looks_like_a_task, written


class Loader:
    """Loads a project into a registry.

    Args:
        timezone: of cron tasks that name none.
    """

    def __init__(self, root: Path, problems: Problems, timezone: str = "UTC") -> None:
        self.registry: Registry = Registry(problems.name)
        self._root = root
        self._problems = problems
        self._timezone = timezone
        self._own_plugins: set[str] = set()

    def load(self, modules: list[Path], *, packages: bool) -> None:
        """Load what installed packages bring, the project's folders, and those of its modules.

        Tasks come after the plugins and middleware that they name; a plugin of the project stands in
        for a package's of the same name.
        """
        folders: list[tuple[Path, str | None]] = [(self._root, None)]
        folders += [(folder, folder.name) for folder in modules]
        if packages:
            self._each_brought("resqpy.plugins", lambda each: self._add_plugin(each.thing))
            self._each_brought(
                "resqpy.initializers", lambda each: self._add_initializer(each.thing)
            )
        for folder, _ in folders:
            self._load_parts(folder)
        for folder, module in folders:
            for path, loaded in self._files(folder / "tasks"):
                self._add_tasks(loaded, path, module)
        if packages:
            self._each_brought("resqpy.tasks", self._add_packaged_tasks)

    def _each_brought(self, group: str, add: Callable[[Brought], None]) -> None:
        for each in import_entry_points(group):
            if isinstance(each.thing, ImportFailed):
                self._problems.add(str(each.thing))
                continue
            try:
                add(each)
            except UsageError as error:
                self._problems.add(f"entry point {each.label}: {error}")

    # -- files --

    def _files(self, folder: Path) -> Iterator[tuple[Path, ModuleType]]:
        for path in python_files(folder, self._problems, deep=True):
            name = ".".join(("_resqpy", self._root.name, *path.relative_to(self._root).parts))
            try:
                yield path, import_file(path, name.removesuffix(".py"))
            except (Exception, SystemExit) as error:  # a user's file may raise anything
                self._problems.add_error(error, path)

    def _load_parts(self, folder: Path) -> None:
        """Plugins, middleware and initializers: they stand before the tasks that name them."""
        registry = self.registry
        parts: list[tuple[str, type, Callable[[Any], None]]] = [
            ("plugins", Plugin, self._add_own_plugin),
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

    def _add_plugin(self, plugin: Any) -> None:
        if not (isinstance(plugin, type) and issubclass(plugin, Plugin)):
            raise UsageError(f"{plugin!r} is not a class derived from Plugin")
        for wrong in misspelled(plugin, Plugin, (*ENQUEUE_HOOKS, *PERFORM_HOOKS, "option_names")):
            raise UsageError(f"plugin {plugin.__name__!r} {wrong}")
        self.registry.plugins[plugin.__name__] = plugin

    def _add_own_plugin(self, plugin: Any) -> None:
        """One of the project's, which may stand in for a package's, but not for another of its own."""
        name = plugin.__name__
        if name in self._own_plugins:
            raise UsageError(f"there is already a plugin {name!r}")
        self._own_plugins.add(name)
        self._add_plugin(plugin)

    def _add_initializer(self, initializer: Any) -> None:
        self.registry.initializers.append(check_initializer(initializer))

    # -- tasks --

    def _add_tasks(self, loaded: ModuleType, path: Path, module: str | None) -> None:
        tasks = _own_tasks(loaded)
        for defined in tasks:
            self._add_task(defined, path, module)
        self._find_lost(loaded, tasks, path)

    def _find_lost(self, loaded: ModuleType, tasks: list[Any], path: Path) -> None:
        """Complain of what somebody wrote as a task and nobody would find."""
        names = {getattr(each, "__name__", "") for each in tasks}
        for name, lines in lines_of_all(path).items():
            if name in names and len(lines) > 1:
                others = ", ".join(map(str, lines[:-1]))
                words = f"{name} is defined twice: this one hides that of line {others}"
                self._problems.add(words, path, lines[-1])
        for found in _own_classes(loaded, object):
            if looks_like_a_task(found):
                words = f"class {found.__name__} looks like a task, but doesn't derive from Task"
                self._problems.add(words, path, line_of(path, found.__qualname__))

    def _add_packaged_tasks(self, brought: Brought) -> None:
        found = brought.thing
        definitions = _own_tasks(found) if isinstance(found, ModuleType) else [found]
        if not definitions:
            raise UsageError(f"the module {found.__name__!r} defines no task")
        for defined in definitions:
            if not is_definition(defined):
                raise UsageError(f"{defined!r} is neither a task nor a module with tasks")
            home = defined.function if isinstance(defined, FunctionTask) else defined
            file = getattr(sys.modules.get(home.__module__), "__file__", None)
            self._add_task(defined, Path(file or home.__module__), None, brought.package)

    def _add_task(
        self, defined: Any, path: Path, module: str | None, package: str | None = None
    ) -> None:
        try:
            task = written(defined)
        except Exception as error:  # a task's constructor may raise anything
            self._problems.add(
                f"{defined!r} can't be made: {error!r}", path, line_of(path, defined.__qualname__)
            )
            return
        complain = partial(self._complain_of_task, path, task.qualname, package)
        builder = SpecBuilder(task, complain, self._timezone)
        line = line_of(path, task.qualname)
        spec = builder.build(file=path, line=line, module=module, package=package)
        if spec is not None:
            self.registry.add(spec, complain)

    def _complain_of_task(
        self, path: Path, qualname: str, package: str | None, name: str | None, message: str
    ) -> None:
        words = f"{message} (in the package {package})" if package else message
        self._problems.add(words, path, line_of(path, qualname, name))


def _own_classes(module: ModuleType, base: type) -> list[type]:
    """The classes that a file defines, not those that it imports."""
    own = [
        value
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, base)
        and value.__module__ == module.__name__
        and not name.startswith("_")
    ]
    return list(dict.fromkeys(own))  # one may have two names


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
        *{id(each): each for each in functions}.values(),
    ]
