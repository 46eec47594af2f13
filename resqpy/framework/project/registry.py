"""All tasks of a project, with what the engine needs to run them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from resqpy.base.errors import (
    ImportFailed,
    InvalidTask,
    UnknownOption,
    UnknownTask,
    UsageError,
)
from resqpy.base.imports import MISSPELLED, listed, near_match
from resqpy.base.limits import AnyLimit, limits_of, texts_by_name
from resqpy.engine.definition import RULES, Definition, define
from resqpy.engine.plugin import Plugin
from resqpy.framework.tasks.arguments import args_of, placed_limits, sent_args
from resqpy.framework.tasks.middleware import (
    Middleware,
    MiddlewareSet,
    around_runs,
    as_plugins,
    overrides,
    performer,
)
from resqpy.framework.tasks.resources import SharedResources
from resqpy.framework.tasks.spec import TaskSpec, without_partials, written
from resqpy.framework.tasks.spec_builder import SpecBuilder
from resqpy.framework.tasks.task import FunctionTask, is_definition, place_of

_NO_RUBY_KEYS = (
    "keys of Ruby's plugins need inputs by their places, as Ruby's perform has: write run(self, id, why, /); "
    "or give the plugin the option ruby_version, where Ruby's perform takes one hash"
)


class Registry:
    """The tasks.

    Args:
        name_of: formats a path for people.

    Attributes:
        tasks: by name, with all properties.
        definitions: the same for the engine.
        plugins: the project's own, by class name.
        middleware: by name.
        initializers: the project's own, as classes.
        resources: of the process that runs the tasks, opened when a job asks for them; None: there is none.
    """

    def __init__(self, name_of: Callable[[Path], str] = str) -> None:
        self._name_of = name_of
        self.tasks: dict[str, TaskSpec] = {}
        self.definitions: dict[str, Definition] = {}
        self.plugins: dict[str, type[Plugin]] = {}
        self.middleware: MiddlewareSet = MiddlewareSet()
        self.initializers: list[Any] = []
        self.resources: SharedResources | None = SharedResources()
        self._by_definition: dict[int, TaskSpec] = {}  # each spec keeps its definition alive

    def __iter__(self) -> Iterator[TaskSpec]:
        return iter(self.tasks.values())

    def __len__(self) -> int:
        return len(self.tasks)

    @property
    def hears_failures(self) -> bool:
        """Whether any middleware has an `on_failure`."""
        used = [*self.middleware.of(None), *(m for task in self for m in self.middleware.of(task))]
        return any(overrides(each, "on_failure") for each in used)

    @property
    def periodic(self) -> list[TaskSpec]:
        """The periodic tasks."""
        return [task for task in self if task.periodic]

    def add(self, task: TaskSpec, complain: Callable[[str | None, str], None]) -> None:
        """Add a task, if its plugins and middleware are valid and its name is free."""
        if (other := self.tasks.get(task.name)) is not None:
            place = self._name_of(other.file) + (f":{other.line}" if other.line else "")
            complain("name", f"there is already a task {task.name!r}, in {place}")
            return
        try:
            middleware = self.middleware.of(task)
            around = around_runs(middleware, task)
        except UsageError as error:
            complain("middleware", str(error))
            return
        try:
            texts_by_name({each.name: each.limit for each in (*self, task)})
            limits = limits_of(placed_limits(task), task.name)
        except UsageError as error:
            complain("limit", str(error))
            return
        try:
            definition = self._define(task, middleware, around, limits)
        except UnknownOption as error:
            complain("plugin_options", str(error))
        except UsageError as error:
            complain("plugins", str(error))
        else:
            by_name = task.signature.positions is None and bool(task.inputs)
            if by_name and any(each.positional for each in definition.plugins):
                complain("plugin_options", f"task {task.name}: {_NO_RUBY_KEYS}")
                return
            self.tasks[task.name] = task
            self.definitions[task.name] = definition
            self._by_definition[id(task.defined)] = task

    def _define(
        self,
        task: TaskSpec,
        chosen: list[Middleware],
        around: list[Middleware],
        limits: tuple[AnyLimit, ...],
    ) -> Definition:
        middleware = as_plugins(chosen, task)
        plugins = [self._plugin(each) for each in task.plugins]
        options = {name: dict(each) for name, each in task.plugin_options.items()}
        if task.retry is not None:
            plugins = plugins if "Retry" in plugins else ["Retry", *plugins]
            options["Retry"] = {**dict(task.retry), **options.get("Retry", {})}
        limit = task.time_limit_ms
        return define(
            task.name,
            performer(task, self.resources, middleware=bool(middleware), around=around),
            plugins=[*plugins, *middleware],
            plugin_options=options,
            time_limit=None if limit is None else timedelta(milliseconds=limit),
            expires=task.expires_ms,
            deadline=task.deadline_ms,
            version=task.inputs.version,
            check=partial(sent_args, task),
            queue=task.queue,
            args=args_of(task, {}),
            frequency=task.frequency_ms,
            cron=task.schedule,
            missed=task.missed,
            missed_window=task.missed_window_ms,
            re_enqueue_on_exception=task.re_enqueue_on_exception,
            **{rule: getattr(task, rule) for rule in RULES} | {"limit": limits},
        )

    def _plugin(self, wanted: Any) -> Any:
        """A plugin of the project by name; anything else is left to the engine."""
        if not isinstance(wanted, str) or "." in wanted or ":" in wanted:
            return wanted
        hint = near_match(wanted, self.plugins, MISSPELLED)
        if wanted not in self.plugins and hint:
            raise ImportFailed(f"no plugin is named {wanted!r}{hint}")
        return self.plugins.get(wanted, wanted)

    # -- finding --

    def task(self, wanted: Any) -> TaskSpec:
        """A task by its name, or by its definition: a class or a decorated function.

        Raises:
            UnknownTask: with the nearest name.
        """
        if isinstance(wanted, str):
            found = self.tasks.get(wanted)
        else:
            found = self._by_definition.get(id(wanted)) or self._original_of(wanted)
        if found is None:
            raise UnknownTask(self._unknown(wanted))
        return found

    def _original_of(self, wanted: Any) -> TaskSpec | None:
        """The task whose definition was copied: somebody ran the file under another name."""
        identity = _identity(wanted)
        same = [each for each in self if identity and _identity(each.defined) == identity]
        return same[0] if len(same) == 1 else None

    def _unknown(self, wanted: Any) -> str:
        known = listed(self.tasks)
        if isinstance(wanted, str):
            return f"there is no task {wanted!r}{near_match(wanted, self.tasks)} (tasks: {known})"
        if not is_definition(wanted):
            return f"{wanted!r} is neither the name of a task nor a task (tasks: {known})"
        return (
            f"the task {_shown(wanted)} does not belong to this project, so no worker would run it: import it "
            f"by its name in a file in tasks/ (tasks: {known})"
        )


def _identity(defined: Any) -> tuple[Any, ...] | None:
    """What a copy of a definition, made by running its file a second time, has in common with it."""
    place = place_of(defined)
    if place is None:
        return None
    is_function = isinstance(defined, FunctionTask)
    given = defined.properties["name"] if is_function else getattr(defined, "name", None)
    named = without_partials(defined.function) if is_function else defined
    return place.file, place.line, given, getattr(named, "__qualname__", None)


def _shown(defined: Any) -> str:
    """A definition and its location, for people."""
    named = without_partials(defined.function) if isinstance(defined, FunctionTask) else defined
    place = place_of(defined)
    where = "" if place is None else f" (of {place.file}:{place.line})"
    return f"{getattr(named, '__name__', named)!r}{where}"


def registry_of(defined: Any) -> Registry:
    """A registry with the one task of a class or a decorated function."""
    problems: list[str] = []

    def complain(_: str | None, message: str) -> None:
        problems.append(message)

    registry = Registry()
    registry.resources = None
    spec = SpecBuilder(written(defined), complain, "UTC").build(
        file=Path(__file__), line=None, module=None
    )
    if spec is not None:
        registry.add(spec, complain)
    if problems:
        raise InvalidTask("; ".join(problems))
    return registry
