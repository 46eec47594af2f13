"""Problems of a project: collected while it is loaded, shown together."""

from __future__ import annotations

import ast
import re
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import resqpy
from resqpy.base.errors import LoadFailed, told
from resqpy.base.imports import near_match


@dataclass(frozen=True, slots=True)
class ProjectProblem:
    """One problem, with its location.

    Attributes:
        file: the path, relative to the project's directory if possible.
    """

    message: str
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        place = ":".join(str(each) for each in (self.file, self.line) if each is not None)
        return f"{place}: {self.message}" if place else self.message


class ProjectErrors(LoadFailed):
    """The project can't be loaded."""

    def __init__(self, problems: Sequence[ProjectProblem]) -> None:
        self.problems: tuple[ProjectProblem, ...] = tuple(problems)
        count = len(self.problems)
        head = "1 problem" if count == 1 else f"{count} problems"
        lines = "\n".join(f"  {each}" for each in self.problems)
        super().__init__(f"{head} in this project:\n{lines}")


class Problems:
    """Collects problems of a project's files.

    Args:
        root: the project's directory.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.found: list[ProjectProblem] = []
        self.warnings: list[ProjectProblem] = []

    def add(self, message: str, path: Path | None = None, line: int | None = None) -> None:
        """Add a problem."""
        self._note(self.found, message, path, line)

    def warn(self, message: str, path: Path | None = None, line: int | None = None) -> None:
        """Add a warning about something allowed but probably unintended."""
        self._note(self.warnings, message, path, line)

    def _note(
        self, problems: list[ProjectProblem], message: str, path: Path | None, line: int | None
    ) -> None:
        problem = ProjectProblem(message, None if path is None else self.name(path), line)
        if problem not in problems:
            problems.append(problem)

    def add_error(self, error: BaseException, path: Path) -> None:
        """Add an error raised by running a file, at the file's own line that led to it."""
        message = told(error)
        if isinstance(error, SyntaxError):
            message = f"SyntaxError: {error.msg}"
        if isinstance(error, SystemExit):
            message = f"SystemExit: it calls sys.exit({error.code!r}) while it is loaded"
        message += _hint(error) + self._elsewhere(error, path)
        self.add(message, path, _line_in(error, path))

    def _elsewhere(self, error: BaseException, path: Path) -> str:
        """Where it was raised, if the file got there through another file of the project."""
        places = [(Path(frame.filename), frame.lineno) for frame in _frames(error)]
        if isinstance(error, SyntaxError) and error.filename:
            places.append((Path(error.filename), error.lineno))
        ours = [place for place in places if place[0].is_relative_to(self.root)]
        if not ours or ours[-1][0] == path:
            return ""
        file, line = ours[-1]
        return f" (in {self.name(file)}:{line})"

    def check(self) -> None:
        """Raise all problems.

        Raises:
            ProjectErrors: there are some.
        """
        if self.found:
            raise ProjectErrors(self.found)

    def name(self, path: Path) -> str:
        """A path for people."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)


def _hint(error: BaseException) -> str:
    """A name of ours that was not imported, or misspelled in the import."""
    if isinstance(error, NameError) and error.name in resqpy.__all__:
        return f"; add `from resqpy import {error.name}`"
    if isinstance(error, ImportError) and error.name == "resqpy":
        found = re.match(r"cannot import name '(\w+)'", str(error))
        return near_match(found[1], resqpy.__all__) if found else ""
    return ""


def _line_in(error: BaseException, path: Path) -> int | None:
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno
    lines = [frame.lineno for frame in _frames(error) if frame.filename == str(path)]
    return lines[-1] if lines else None


def files_in(error: BaseException) -> set[Path]:
    """The files that were being run as modules, and that an error has ended."""
    return {Path(each.filename) for each in _frames(error) if each.name == "<module>"}


def _frames(error: BaseException) -> traceback.StackSummary:
    return traceback.extract_tb(error.__traceback__)


@dataclass(frozen=True, slots=True)
class Statement:
    """A class or a function at the top level of a file.

    Attributes:
        first, line, last: the lines of its first decorator, its name, its end.
    """

    name: str
    first: int
    line: int
    last: int


def statements_of(path: Path) -> list[Statement]:
    """All classes and functions at the top level of a file: of two with one name, Python keeps the last."""
    return [
        Statement(
            node.name,
            min(each.lineno for each in (node, *node.decorator_list)),
            node.lineno,
            node.end_lineno or node.lineno,
        )
        for node in _parsed(path)
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def _parsed(path: Path) -> Iterable[ast.stmt]:
    try:
        return ast.parse(path.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return ()


def line_of(path: Path, name: str, detail: str | None = None) -> int | None:
    """The line of a class or function in a file, or of one of its properties.

    Args:
        name: its qualified name.
        detail: an attribute set in the class, or a keyword of the function's decorator.
    """
    nodes = _parsed(path)
    found: ast.stmt | None = None
    for part in name.split("."):
        named = [n for n in nodes if _is_definition(n) and getattr(n, "name", "") == part]
        found = named[-1] if named else None
        nodes = getattr(found, "body", ())
    if found is None:
        return None
    return (_line_of_detail(found, detail) if detail else None) or found.lineno


def _is_definition(node: ast.stmt) -> bool:
    return isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)


def _line_of_detail(node: ast.stmt, detail: str) -> int | None:
    for child in getattr(node, "body", ()) if isinstance(node, ast.ClassDef) else ():
        targets = getattr(child, "targets", [getattr(child, "target", None)])
        names = {getattr(target, "id", None) for target in targets} | {getattr(child, "name", None)}
        if detail in names:
            return int(child.lineno)
    for call in getattr(node, "decorator_list", ()):
        for keyword in getattr(call, "keywords", ()):
            if keyword.arg == detail:
                return int(keyword.lineno)
    return None
