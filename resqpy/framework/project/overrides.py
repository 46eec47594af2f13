"""`tasks.resque_overrides`: replaces our queue, multi worker or scheduler.

A replacement is called like ours: a queue with (store, definitions), a multi worker with (store,
definitions, queues, options, scaling), a scheduler with (store, definitions, options). Deriving from our
class is the easiest way.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from resqpy.base.errors import UsageError
from resqpy.base.imports import import_dotted
from resqpy.framework.config.config import Config

# Our class, which is imported when it is used, and what a replacement must have, with the same signatures.
PARTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "queue": (
        "resqpy.engine.inspect.inspector:Resque",
        (
            *("enqueue", "enqueue_many", "enqueue_at", "enqueue_in", "delete", "del_by_function"),
            *("del_delayed", "del_delayed_at", "del_queue", "close"),
        ),
    ),
    "multi_worker": (
        "resqpy.engine.worker.multi_worker:MultiWorker",
        ("on", "start", "wait", "pause", "resume", "cancel", "stop", "stop_now"),
    ),
    "scheduler": (
        "resqpy.framework.api.scheduler:Scheduler",
        ("leader", "master", "on", "start", "wait", "stop"),
    ),
}


@dataclass(frozen=True, slots=True)
class Part:
    """A part that is created once, by our class or its replacement.

    Attributes:
        make: a class or a factory.
    """

    name: str
    make: Callable[..., Any]
    shown: str

    def __call__(self, *arguments: Any) -> Any:
        """Create it.

        Raises:
            UsageError: it doesn't accept these arguments, or lacks something.
        """
        try:
            made = self.make(*arguments)
        except TypeError as error:
            raise UsageError(
                f"{self.shown} can't be called like our {self.name}, with {len(arguments)} arguments (see "
                f"resqpy/framework/project/overrides.py): {error}"
            ) from error
        if not isinstance(self.make, type):
            check_contract(self.name, made, f"{self.shown} returned a {type(made).__name__}; it")
        return made


def part(name: str, config: Config) -> Part:
    """The part of a name, as configured.

    Raises:
        UsageError: what is wrong with the replacement.
    """
    ours, _ = PARTS[name]
    wanted = getattr(config.tasks.resque_overrides, name)
    path = f"tasks.resque_overrides.{name}"
    shown = f"{config.origin(path)}: {path} ({_name_of(wanted)})"
    if isinstance(wanted, str):
        wanted = _imported(wanted, shown)
    make = import_dotted(ours) if wanted is None else wanted
    if isinstance(make, type):
        check_contract(name, make, shown)
    elif not callable(make):
        raise UsageError(f"{shown} is {make!r}, neither a class nor a factory")
    return Part(name, make, shown)


def _name_of(wanted: Any) -> str:
    if isinstance(wanted, str) or not hasattr(wanted, "__qualname__"):
        return str(wanted)
    return f"{wanted.__module__}.{wanted.__qualname__}"


def _imported(path: str, shown: str) -> Any:
    try:
        return import_dotted(path)
    except UsageError as error:
        raise UsageError(f"{shown}: {error}") from error


def check_contract(kind: str, part: Any, what: str) -> None:
    """Check that a class or an object has what a part of its kind needs.

    Args:
        what: its description in messages: the path in the config and its value.

    Raises:
        UsageError: everything that is missing or takes other arguments.
    """
    path, names = PARTS[kind]
    ours = import_dotted(path)
    problems = []
    if missing := [name for name in names if not hasattr(part, name)]:
        problems.append(f"it has no {', '.join(missing)}")
    for name in names:
        if name not in missing and inspect.isfunction(wanted := getattr(ours, name)):
            problems += _wrong_call(wanted, part, name)
    if problems:
        raise UsageError(f"{what} can't be used: {'; '.join(problems)}")


def _wrong_call(wanted: Any, part: Any, name: str) -> list[str]:
    """What prevents calling a method like ours, with each argument by position."""
    method = getattr(part, name)
    if not callable(method):
        return [f"its {name!r} is {method!r}, not a method"]
    given = list(inspect.signature(wanted).parameters.values())[1:]
    names = [each.name for each in given if each.kind is each.POSITIONAL_OR_KEYWORD]
    itself = [None] if isinstance(part, type) and _is_plain_method(part, name) else []
    try:
        inspect.signature(method).bind(*itself, *[None] * len(names))
    except TypeError as error:
        return [f"its {name}() doesn't accept ({', '.join(names)}): {error}"]
    return []


def _is_plain_method(part: type, name: str) -> bool:
    return not isinstance(inspect.getattr_static(part, name), classmethod | staticmethod)
