"""A task as a user wrote it, class or function, in one form; and its immutable spec, all properties checked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resqpy.framework.tasks.task import PROPERTIES, FunctionTask, Task

if TYPE_CHECKING:
    from resqpy.base.cron.cron import CronSchedule
    from resqpy.base.periodic import Missed
    from resqpy.framework.tasks.inputs import Inputs
    from resqpy.framework.tasks.signature import Signature


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """A task with all its properties, checked.

    Attributes:
        frequency_ms: 0: none.
        schedule: the parsed `cron`; None: none.
        retry: the options of the plugin Retry; None: no retry.
        run: the user's function, bound.
        module: the module it belongs to; None: the project.
        package: name and version of the installed package that provides it; None: none.
        defined: what the user wrote: a class or a `FunctionTask`.
    """

    name: str
    description: str
    queue: str
    frequency_ms: int
    cron: str | None
    timezone: str
    schedule: CronSchedule | None
    missed: Missed
    missed_window_ms: int
    plugins: tuple[Any, ...]
    plugin_options: Mapping[str, Mapping[str, Any]]
    middleware: tuple[Any, ...]
    inputs: Inputs
    signature: Signature
    retry: Mapping[str, Any] | None
    time_limit_ms: int | None
    at_most_once: bool
    end_children: bool
    re_enqueue_on_exception: bool
    run: Callable[..., Any]
    is_async: bool
    file: Path
    line: int | None
    module: str | None
    package: str | None
    defined: Any

    @property
    def periodic(self) -> bool:
        """Whether it is periodic."""
        return self.frequency_ms > 0 or self.schedule is not None


@dataclass(frozen=True, slots=True)
class WrittenTask:
    """What a user wrote.

    Attributes:
        own: the properties that were set, by name.
        run: as written; None: there is none.
    """

    defined: Any
    title: str
    qualname: str
    own: Mapping[str, Any]
    run: Any
    default_name: str
    default_description: str


def written(defined: Any) -> WrittenTask:
    """Read a class or a decorated function."""
    if isinstance(defined, FunctionTask):
        named = without_partials(defined.function)
        return WrittenTask(
            defined,
            f"task {named.__name__}",
            named.__qualname__,
            defined.properties,
            defined.function,
            named.__name__,
            _first_lines(named.__doc__),
        )
    own = {name: getattr(defined, name) for name in PROPERTIES}
    return WrittenTask(
        defined,
        f"task {defined.__name__}",
        defined.__qualname__,
        own,
        getattr(defined(), "run", None),
        defined.__name__[:1].lower() + defined.__name__[1:],
        _first_lines(defined.__doc__ if defined.__doc__ != Task.__doc__ else ""),
    )


def without_partials(function: Any) -> Any:
    """The underlying function of a `functools.partial`."""
    while isinstance(function, partial):
        function = function.func
    return function


def _first_lines(words: str | None) -> str:
    return " ".join(inspect.cleandoc(words or "").partition("\n\n")[0].split())


def looks_like_a_task(thing: Any) -> bool:
    """Whether a class looks like a task but doesn't derive from `Task`: it would not be found."""
    if not isinstance(thing, type) or issubclass(thing, Task):
        return False
    own = vars(thing)
    return callable(own.get("run")) and any(name in own for name in PROPERTIES)
