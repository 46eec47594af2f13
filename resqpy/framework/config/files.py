"""The files of `config/`: one section each, with `default()` and a function per environment.

They are run under private module names, so a `config/redis.py` never shadows the package `redis`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from resqpy.base.errors import ImportFailed
from resqpy.base.imports import import_file, near_match
from resqpy.framework.project.files import python_files
from resqpy.framework.project.problems import Problems, line_of

USUAL_ENVIRONMENTS = ("default", "development", "test", "staging", "production")


@dataclass(frozen=True, slots=True)
class Layer:
    """The result of one function of one file.

    Attributes:
        values: as the function returned them, nested.
        origin: description for people.
    """

    section: str
    values: Mapping[str, Any]
    origin: str
    path: Path
    function: str


def read_layers(folder: Path, environment: str, problems: Problems) -> Iterator[Layer]:
    """The settings in a directory's files for an environment, general before specific."""
    for path in python_files(folder, problems):
        try:
            module = import_file(path, f"_resqpy_config.{folder.parent.name}.{path.stem}")
        except (Exception, SystemExit) as error:  # a user's file may raise anything
            problems.add_error(error, path)
            continue
        yield from _layers_of(module, path, environment, problems)


def _layers_of(
    module: ModuleType, path: Path, environment: str, problems: Problems
) -> Iterator[Layer]:
    functions = _functions(module)
    _check_names(functions, path, problems)
    for name in ("default", environment):  # these may be imported too
        if inspect.isfunction(found := getattr(module, name, None)):
            functions[name] = found
    if "default" not in functions and environment not in functions:
        problems.add("has no function default() that returns this section's settings", path)
    for name in dict.fromkeys(("default", environment)):
        if name in functions:
            yield from _layer(functions[name], name, path, problems)


def _functions(module: ModuleType) -> dict[str, Callable[[], Any]]:
    own = {
        name: value
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__
    }
    return {name: value for name, value in own.items() if not name.startswith("_")}


def _check_names(functions: Mapping[str, Any], path: Path, problems: Problems) -> None:
    for name in functions:
        hint = near_match(name, USUAL_ENVIRONMENTS)
        if hint and name not in USUAL_ENVIRONMENTS:
            problems.add(f"{name}() is for an unknown environment{hint}", path, line_of(path, name))


def _layer(
    function: Callable[[], Any], name: str, path: Path, problems: Problems
) -> Iterator[Layer]:
    if reason := _not_callable(function):
        problems.add(f"{name}() {reason}", path, line_of(path, name))
        return
    try:
        values = function()
    except (Exception, SystemExit) as error:  # a user's function may raise anything
        problems.add_error(error, path)
        return
    if not isinstance(values, Mapping):
        problems.add(f"{name}() returned {values!r}, not a dict", path, line_of(path, name))
        return
    yield Layer(path.stem, values, f"{problems.name(path)} {name}()", path, name)


def _not_callable(function: Callable[..., Any]) -> str:
    """Why a function can't be called as a config function; an empty text if it can."""
    if inspect.iscoroutinefunction(function):
        return "is async, but the config is read before anything runs; make it a plain function"
    needed = [
        name
        for name, each in inspect.signature(function).parameters.items()
        if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
    return f"takes {', '.join(needed)}, but gets nothing; import `api`" if needed else ""


def folders_of(root: Path, given: str | None) -> list[Path]:
    """The config directories: `config/`, or those of RESQPY_CONFIG (comma-separated), later ones take
    precedence.

    Raises:
        ImportFailed: a directory that was named does not exist.
    """
    if not given:
        return [root / "config"]
    folders = [root / part.strip() for part in given.split(",") if part.strip()]
    for folder in folders:
        if not folder.is_dir():
            raise ImportFailed(f"RESQPY_CONFIG: {folder} is not a directory")
    return folders
