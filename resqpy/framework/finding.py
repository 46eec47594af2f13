"""Which tasks a file brings, and what in it somebody wrote as a task and no worker would run as such."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from resqpy.framework.made import defined_by, place_of
from resqpy.framework.problems import Statement, statements_of
from resqpy.framework.task import FunctionTask, is_definition
from resqpy.framework.written import looks_like_a_task, without_partials

_MOST_HELD = 1000  # things in a container that is looked into: a table of data holds no tasks


@dataclass(frozen=True, slots=True)
class Lost:
    """What is wrong with how a task stands in its file.

    Attributes:
        defined: the task; it is not to be added. None: none was made.
    """

    words: str
    line: int | None
    defined: Any = None


def own_tasks(module: ModuleType) -> list[Any]:
    """The tasks that were defined while a file ran; a class without `run` that others derive from is
    none, nor is a private one.
    """
    defined = defined_by(module)
    bases = _bases(defined)
    return [
        each
        for each in defined
        if not isinstance(each, type)
        or (not each.__name__.startswith("_") and (each not in bases or hasattr(each, "run")))
    ]


def named_tasks(module: ModuleType) -> list[Any]:
    """The tasks that a file has by a name or in a container, wherever they were defined; of classes
    only those that nobody derives from.
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
        for each in inside if len(inside) <= _MOST_HELD else ():
            yield from _held(each, depth - 1)


def lost_tasks(module: ModuleType, path: Path) -> Iterator[Lost]:
    """What somebody wrote as a task and nobody would find, or would find as another one."""
    statements, names = statements_of(path), vars(module)
    for statement in statements:
        now = names.get(statement.name)
        others = [str(each.line) for each in statements if each.name == statement.name]
        for defined in _defined_in(statement, module):
            if defined is now or statement.name not in names:
                yield from _misnamed(statement, defined)
            elif is_definition(now) and len(others) > 1:
                line = int(others.pop())
                words = f"{statement.name} is defined twice: this one hides that of line "
                yield Lost(words + ", ".join(others), line, defined)
            elif id(defined) not in {id(each) for each in named_tasks(module)}:
                yield Lost(_covered(statement, defined), statement.line)
    for value in names.values():
        if looks_like_a_task(value) and value.__module__ == module.__name__:
            lines = [each.line for each in statements if each.name == value.__name__]
            words = f"class {value.__name__} looks like a task, but doesn't derive from Task"
            yield Lost(words, lines[-1] if lines else None)


def _defined_in(statement: Statement, module: ModuleType) -> list[Any]:
    """What a class or a function at the top of a file made a task: itself, not what it has inside."""
    return [
        each
        for each in defined_by(module)
        if (place := place_of(each)) is not None
        and statement.first <= place.line <= statement.last
        and (each.__name__ == statement.name if isinstance(each, type) else not _inside_class(each))
    ]


def _inside_class(defined: FunctionTask[..., Any]) -> bool:
    """Whether a function stands in the body of a class."""
    outer = without_partials(defined.function).__qualname__.rpartition(".")[0]
    return bool(outer) and not outer.endswith("<locals>")


def _misnamed(statement: Statement, defined: Any) -> Iterator[Lost]:
    if isinstance(defined, type) or defined.properties["name"]:
        return
    name = without_partials(defined.function).__name__
    if name != statement.name:
        words = (
            f"the decorator below @task hides the function {statement.name} (it is {name!r} now): "
            "let it use functools.wraps"
        )
        yield Lost(words, statement.line, defined)


def _covered(statement: Statement, defined: Any) -> str:
    if isinstance(defined, type):
        return (
            f"the decorator of class {statement.name} puts something else in its place, which has no "
            "part in a run; let it return the class"
        )
    return (
        f"@task is not the outermost decorator of {statement.name}, and what stands above it has no "
        "part in a run; put @task on top"
    )
