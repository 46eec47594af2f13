"""What a user wrote as a task, class or function, read in one way; nothing is checked yet."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from resqpy.framework.task import PROPERTIES, FunctionTask, Task


@dataclass(frozen=True, slots=True)
class WrittenTask:
    """What a user wrote.

    Attributes:
        own: the properties that were set, by name.
        run: as it stands there; None: there is none.
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
    """The function itself, of one to which `functools.partial` gave some of its arguments."""
    while isinstance(function, partial):
        function = function.func
    return function


def _first_lines(words: str | None) -> str:
    return " ".join(inspect.cleandoc(words or "").partition("\n\n")[0].split())


def looks_like_a_task(thing: Any) -> bool:
    """Whether a class has what a task has, but doesn't derive from `Task`: nobody would find it."""
    if not isinstance(thing, type) or issubclass(thing, Task):
        return False
    own = vars(thing)
    return callable(own.get("run")) and any(name in own for name in PROPERTIES)
