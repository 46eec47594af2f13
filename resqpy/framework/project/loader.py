"""Finds the parts of a project: tasks, plugins, middleware and initializers, in files of its directory and
in installed packages. All problems are collected, nothing is raised.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from resqpy.base.errors import ImportFailed, UsageError, repr_of
from resqpy.base.imports import EntryPointObject, import_entry_points, import_own, misspelled
from resqpy.engine.plugin import DEQUEUE_HOOKS, ENQUEUE_HOOKS, PERFORM_HOOKS, Plugin
from resqpy.framework.process.initializer import Initializer, check_initializer
from resqpy.framework.project.files import python_files
from resqpy.framework.project.layout import Layout
from resqpy.framework.project.problems import Problems, Statement, files_in, line_of, statements_of
from resqpy.framework.project.registry import Registry
from resqpy.framework.tasks.middleware import INSTALLED, Middleware
from resqpy.framework.tasks.spec import looks_like_a_task, without_partials, written
from resqpy.framework.tasks.spec_builder import SpecBuilder
from resqpy.framework.tasks.task import FunctionTask, defined_by, is_definition, place_of

_OWN = f"{__name__.partition('.')[0]}."  # names of our own modules


class Loader:
    """Loads a project into a registry.

    Args:
        timezone: of cron tasks that name none.
    """

    def __init__(self, layout: Layout, problems: Problems, timezone: str = "UTC") -> None:
        self.registry: Registry = Registry(problems.name)
        self._layout = layout
        self._problems = problems
        self._timezone = timezone
        self._failed: dict[
            Path, BaseException
        ] = {}  # files that can't be run, and what they raised
        self._own_plugins: set[str] = set()
        self._seen: dict[int, Any] = {}

    def load(self, modules: list[Path], *, packages: bool) -> None:
        """Load what installed packages provide, the project's directories, and those of its modules.

        Tasks are loaded after the plugins and middleware that they name; a plugin of the project replaces a
        package's of the same name.
        """
        folders = [self._layout.root, *modules]
        if packages:
            self._each_brought("resqpy.plugins", lambda each: self._add_plugin(each.thing))
            self._each_brought(
                "resqpy.initializers", lambda each: self._add_initializer(each.thing)
            )
        for folder in folders:
            self._load_parts(folder)
        self._load_tasks(folders)
        if packages:
            self._each_brought("resqpy.tasks", self._add_packaged_tasks)
        self._tell_unnamed({each.name for each in modules})

    def _each_brought(self, group: str, add: Callable[[EntryPointObject], None]) -> None:
        for each in import_entry_points(group):
            if isinstance(each.thing, ImportFailed):
                self._problems.add(str(each.thing))
                continue
            try:
                add(each)
            except UsageError as error:
                self._problems.add(f"entry point {each.label}: {error}")

    # -- files --

    def _files(self, folder: Path, name: str) -> Iterator[tuple[Path, ModuleType]]:
        """The modules of a package of this name, each run, but those that can't be."""
        for path in python_files(folder, self._problems, deep=True):
            parts = path.relative_to(folder).with_suffix("").parts
            parts = parts[:-1] if path.stem == "__init__" else parts
            yield from self._file(path, ".".join((name, *parts)))

    def _file(self, path: Path, name: str) -> Iterator[tuple[Path, ModuleType]]:
        if path in self._failed:  # it is not run once more: its first half was
            self._problems.add_error(self._failed[path], path)
            return
        try:
            module = import_own(name, path)
        except (Exception, SystemExit) as error:  # a user's file may raise anything
            self._problems.add_error(error, path)
            self._failed |= dict.fromkeys(files_in(error), error)
        else:
            yield path, module

    def _load_parts(self, folder: Path) -> None:
        """Plugins, middleware and initializers: they are loaded before the tasks that name them."""
        registry = self.registry
        parts: list[tuple[str, type, Callable[[Any], None]]] = [
            ("plugins", Plugin, self._add_own_plugin),
            ("middleware", Middleware, registry.middleware.add),
            ("initializers", Initializer, self._add_initializer),
        ]
        for name, base, add in parts:
            for path, loaded in self._files(folder / name, self._name_of(folder / name)):
                for found in _own_classes(loaded, base):
                    self._add_part(found, path, add)

    def _add_part(self, found: type, path: Path, add: Callable[[Any], None]) -> None:
        try:
            add(found)
        except Exception as error:  # a user's constructor may raise anything
            message = str(error) if isinstance(error, UsageError) else repr_of(error)
            self._problems.add(message, path, line_of(path, found.__qualname__))

    def _add_plugin(self, plugin: Any) -> None:
        if not (isinstance(plugin, type) and issubclass(plugin, Plugin)):
            raise UsageError(f"{plugin!r} is not a class derived from Plugin")
        for wrong in misspelled(
            plugin, Plugin, (*ENQUEUE_HOOKS, *DEQUEUE_HOOKS, *PERFORM_HOOKS, "option_names")
        ):
            raise UsageError(f"plugin {plugin.__name__!r} {wrong}")
        self.registry.plugins[plugin.__name__] = plugin

    def _add_own_plugin(self, plugin: Any) -> None:
        """One of the project's, which may replace a package's, but not another of its own."""
        name = plugin.__name__
        if name in self._own_plugins:
            raise UsageError(f"there is already a plugin {name!r}")
        self._own_plugins.add(name)
        self._add_plugin(plugin)

    def _add_initializer(self, initializer: Any) -> None:
        self.registry.initializers.append(check_initializer(initializer))

    # -- tasks --

    def _load_tasks(self, folders: list[Path]) -> None:
        """First what each file defines itself, then what it imports: both are found, once."""
        found = dict(self._task_files(folders))
        self._add_middleware_of(found)
        files = [(path, loaded, self._module_of(path, folders)) for path, loaded in found.items()]
        for path, loaded, module in files:
            lost = list(lost_tasks(loaded, path))
            self._seen.update((id(each.defined), each.defined) for each in lost)
            for defined in own_tasks(loaded):
                self._add_task(defined, path, module)
            for each in lost:
                self._problems.add(each.message, path, each.line)
        for path, loaded, module in files:
            for defined in named_tasks(loaded):
                self._add_task(defined, path, module)

    def _add_middleware_of(self, found: Mapping[Path, ModuleType]) -> None:
        """What is for all tasks may stand beside them: with `--app jobs` there may be no other file."""
        chosen = self.registry.middleware
        for path, loaded in found.items():
            for kind in _own_classes(loaded, Middleware):
                if getattr(kind, "everywhere", False):
                    self._add_part(kind, path, chosen.add)
        for installed in INSTALLED:
            if not chosen.has(installed):
                chosen.add(installed)

    def _task_files(self, folders: list[Path]) -> Iterator[tuple[Path, ModuleType]]:
        if self._layout.tasks is None:
            for folder in folders:
                yield from self._files(folder / "tasks", self._name_of(folder / "tasks"))
        for pattern in self._layout.tasks or ():
            named = self._layout.named(pattern)
            if not named:
                tell = self._problems.warn if "*" in pattern else self._problems.add
                tell(self._layout.nothing_named(pattern), self._layout.file)
            for name, path in named.items():
                yield from self._file(path, name) if path.is_file() else self._files(path, name)

    def _name_of(self, path: Path) -> str:
        return ".".join(path.relative_to(self._layout.root).parts)

    def _module_of(self, path: Path, folders: list[Path]) -> str | None:
        """The name of the module to which a file belongs, one of `modules/`."""
        return next((each.name for each in folders[1:] if path.is_relative_to(each)), None)

    def _tell_unnamed(self, modules: set[str]) -> None:
        """A task in a module of the project that is loaded, and that no pattern names: no worker would run
        it, since no worker imports that module.

        Args:
            modules: those that are chosen, of `modules/`; what is in others is left out on purpose.
        """
        for name, module in list(sys.modules.items()):
            # a base that the project may have never heard of, where it has us in its folder
            if name.startswith(_OWN):
                continue
            path = Path(os.path.realpath(getattr(module, "__file__", None) or ""))
            for defined in own_tasks(module) if self._layout.has_code(path, modules) else ():
                if id(defined) in self._seen or getattr(defined, "__subclasses__", list)():
                    continue
                place, qualname = place_of(defined), written(defined).qualname
                self._problems.add(
                    f"the task {defined.__name__} is in no module in which tasks are looked for; "
                    + self._layout.remedy(name),
                    path,
                    line_of(path, qualname) or (place.line if place else None),
                )

    def _add_packaged_tasks(self, brought: EntryPointObject) -> None:
        found = brought.thing
        definitions = (
            list({id(each): each for each in (*own_tasks(found), *named_tasks(found))}.values())
            if isinstance(found, ModuleType)
            else [found]
        )
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
        if id(defined) in self._seen:  # where it was defined, or by another name
            return
        self._seen[id(defined)] = defined
        try:
            task = written(defined)
        except Exception as error:  # a task's constructor may raise anything
            self._problems.add(
                f"{defined!r} can't be created: {repr_of(error)}",
                path,
                line_of(path, defined.__qualname__),
            )
            return
        place = place_of(defined)
        made_at = place.line if place is not None and place.file == str(path) else None
        complain = partial(self._complain_of_task, path, task.qualname, made_at, package)
        warn = partial(self._warn_of_task, path, task.qualname, made_at)
        builder = SpecBuilder(task, complain, self._timezone, warn)
        line = line_of(path, task.qualname) or made_at
        spec = builder.build(file=path, line=line, module=module, package=package)
        if spec is not None:
            self.registry.add(spec, complain)

    def _complain_of_task(
        self,
        path: Path,
        qualname: str,
        made_at: int | None,
        package: str | None,
        name: str | None,
        message: str,
    ) -> None:
        message = f"{message} (in the package {package})" if package else message
        self._problems.add(message, path, line_of(path, qualname, name) or made_at)

    def _warn_of_task(
        self, path: Path, qualname: str, made_at: int | None, name: str | None, message: str
    ) -> None:
        self._problems.warn(message, path, line_of(path, qualname, name) or made_at)


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


# -- the tasks of a file, and what was written as a task but would not be found as such --

_MAX_ITEMS = 1000  # items in a container that is searched: a table of data holds no tasks


@dataclass(frozen=True, slots=True)
class Lost:
    """What is wrong with how a task is written in its file.

    Attributes:
        defined: the task, which must not be added. None: none was made.
    """

    message: str
    line: int | None
    defined: Any = None


def own_tasks(module: ModuleType) -> list[Any]:
    """The tasks that were defined while a file ran; base classes without `run` and private ones are excluded."""
    defined = defined_by(module)
    bases = _bases(defined)
    return [
        each
        for each in defined
        if not isinstance(each, type)
        or (not each.__name__.startswith("_") and (each not in bases or hasattr(each, "run")))
    ]


def named_tasks(module: ModuleType) -> list[Any]:
    """The tasks that a file has by name or in a container, wherever they were defined; of classes only
    those without subclasses.
    """
    names = {name: value for name, value in vars(module).items() if not name.startswith("__")}
    held = {id(each): each for value in names.values() for each in _held(value)}
    return [
        each
        for each in held.values()
        if not isinstance(each, type)
        or (
            hasattr(each, "run") and not each.__subclasses__() and not each.__name__.startswith("_")
        )
    ]


def _bases(defined: list[Any]) -> set[type]:
    return {base for each in defined if isinstance(each, type) for base in each.__mro__[1:]}


def _held(value: Any, depth: int = 3) -> Iterator[Any]:
    if is_definition(value):
        yield value
    elif isinstance(value, Mapping | list | tuple | set | frozenset) and depth:
        inside = list(value.values() if isinstance(value, Mapping) else value)
        for each in inside if len(inside) <= _MAX_ITEMS else ():
            yield from _held(each, depth - 1)


def lost_tasks(module: ModuleType, path: Path) -> Iterator[Lost]:
    """What was written as a task but would not be found, or would be found as another one."""
    statements, names = statements_of(path), vars(module)
    for statement in statements:
        now = names.get(statement.name)
        others = [str(each.line) for each in statements if each.name == statement.name]
        for defined in _defined_in(statement, module):
            if defined is now or statement.name not in names:
                yield from _misnamed(statement, defined)
            elif is_definition(now) and len(others) > 1:
                line = int(others.pop())
                message = f"{statement.name} is defined twice: this one hides that of line "
                yield Lost(message + ", ".join(others), line, defined)
            elif id(defined) not in {id(each) for each in named_tasks(module)}:
                yield Lost(_covered(statement, defined), statement.line)
    for value in names.values():
        if looks_like_a_task(value) and value.__module__ == module.__name__:
            lines = [each.line for each in statements if each.name == value.__name__]
            message = f"class {value.__name__} looks like a task, but doesn't derive from Task"
            yield Lost(message, lines[-1] if lines else None)


def _defined_in(statement: Statement, module: ModuleType) -> list[Any]:
    """The task defined by a class or function at the top level of a file, without what is nested in it."""
    return [
        each
        for each in defined_by(module)
        if (place := place_of(each)) is not None
        and statement.first <= place.line <= statement.last
        and (each.__name__ == statement.name if isinstance(each, type) else not _inside_class(each))
    ]


def _inside_class(defined: FunctionTask[..., Any]) -> bool:
    """Whether a function is in the body of a class."""
    outer = without_partials(defined.function).__qualname__.rpartition(".")[0]
    return bool(outer) and not outer.endswith("<locals>")


def _misnamed(statement: Statement, defined: Any) -> Iterator[Lost]:
    if isinstance(defined, type) or defined.properties["name"]:
        return
    name = without_partials(defined.function).__name__
    if name != statement.name:
        message = (
            f"the decorator below @task hides the function {statement.name} (it is {name!r} now): let it use "
            "functools.wraps"
        )
        yield Lost(message, statement.line, defined)


def _covered(statement: Statement, defined: Any) -> str:
    if isinstance(defined, type):
        return (
            f"the decorator of class {statement.name} replaces it by something else, which is not used in a "
            "run; let it return the class"
        )
    return (
        f"@task is not the outermost decorator of {statement.name}, and those above it are not used in a run; "
        "put @task on top"
    )
