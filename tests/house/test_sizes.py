"""Small pieces: limits that a machine can hold, and the ten worst of each (`bin/test -s -n0 …`)."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from tests.support.source import docstring, name, python_files, tree

# What may be larger, and why: growth is a visible decision. Names as the test prints them.
EXCEPTIONS: dict[str, str] = {
    "base/keys.py": "the same, and its largest class",
    "base/keys.py:Keys": "one short method for each key of the wire format",
    "tracked/view.py:TaskView": "one line for each property of a task",
    "engine/worker/pool.py:Pool": "the dispatcher with all its states, to be read in one place",
}

FOLDERS = ("resqpy", "tasks", "config")
DEEPENING = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.Match)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class Size(NamedTuple):
    """One thing and how large it is."""

    size: int
    what: str


def function_lines() -> Iterator[Size]:
    """Lines of each function, without its docstring and decorators."""
    for where, function in functions():
        words = docstring(function)
        spent = (words.end_lineno or 0) - words.lineno + 1 if words else 0
        yield Size((function.end_lineno or 0) - function.lineno + 1 - spent, where)


def file_lines() -> Iterator[Size]:
    """Lines of each file, all counted."""
    for path in python_files(*FOLDERS):
        yield Size(len(path.read_text().splitlines()), name(path))


def class_methods() -> Iterator[Size]:
    """Functions that stand in each class."""
    for path in python_files(*FOLDERS):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef):
                methods = sum(isinstance(child, FUNCTIONS) for child in node.body)
                yield Size(methods, f"{name(path)}:{node.name}")


def constructor_parameters() -> Iterator[Size]:
    """Parameters of each `__init__` but self; the way out is a frozen dataclass of options."""
    for where, function in functions():
        if function.name == "__init__":
            all_of_them = function.args
            named = [*all_of_them.posonlyargs, *all_of_them.args, *all_of_them.kwonlyargs]
            yield Size(len(named) - 1, where)


def nesting() -> Iterator[Size]:
    """How deep the statements of each function stand; `elif` and `case` are no step down."""
    for where, function in functions():
        yield Size(max((depth(child, function) for child in function.body), default=0), where)


LIMITS: list[tuple[Callable[[], Iterator[Size]], int]] = [
    (function_lines, 40),
    (file_lines, 600),
    (class_methods, 20),
    (constructor_parameters, 7),
    (nesting, 3),
]


@pytest.mark.parametrize(
    ("measure", "limit"), LIMITS, ids=lambda value: getattr(value, "__name__", None)
)
def test_nothing_is_too_large(measure: Callable[[], Iterator[Size]], limit: int) -> None:
    """Nothing exceeds its limit but what is listed above with a reason."""
    sizes = sorted(measure(), reverse=True)
    print(f"\n{measure.__name__}, at most {limit}:")
    print("\n".join(f"  {size:5} {what}" for size, what in sizes[:10]))

    too_large = [entry for entry in sizes if entry.size > limit and entry.what not in EXCEPTIONS]

    assert too_large == []


def test_exceptions_are_needed() -> None:
    """An exception goes when the thing has become small."""
    large = {entry.what for measure, limit in LIMITS for entry in measure() if entry.size > limit}

    assert set(EXCEPTIONS) <= large


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """All functions with their place: `engine/worker/pool.py:Pool.run`."""
    for path in python_files(*FOLDERS):
        yield from _functions_in(tree(path), f"{name(path)}:")


def _functions_in(
    node: ast.AST, prefix: str
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, FUNCTIONS):
            yield f"{prefix}{child.name}", child
        inner = f"{child.name}." if isinstance(child, (*FUNCTIONS, ast.ClassDef)) else ""
        yield from _functions_in(child, prefix + inner)


def depth(node: ast.AST, parent: ast.AST) -> int:
    """Steps down below `parent`; functions inside count from their own start."""
    if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
        return 0
    is_elif = isinstance(node, ast.If) and isinstance(parent, ast.If) and parent.orelse == [node]
    step = int(isinstance(node, DEEPENING) and not is_elif)
    below = (depth(child, node) for child in ast.iter_child_nodes(node))
    return step + max(below, default=0)
