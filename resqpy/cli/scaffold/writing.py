"""Writes files from templates: for `resqpy new` and `resqpy generate`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from resqpy.cli.output import printing as output
from resqpy.cli.output.printing import Exit

TEMPLATES = Path(__file__).parent / "templates"
_SUFFIX = ".tmpl"
_HOLE = re.compile(r"\{\{(\w+)\}\}")
_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z0-9]+|[A-Z]+")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
MAX_COLUMNS = 100  # line length of the project, see its pyproject.toml
MAX_DESCRIPTION = 80  # of a description, which is one line of a docstring


@dataclass(frozen=True)
class Name:
    """A name in the spellings used in code."""

    given: str

    @classmethod
    def of(cls, text: str, remedy: str = "") -> Name:
        """Check a user's name.

        Args:
            remedy: what to do about an invalid one.

        Raises:
            click.ClickException: it can't be made a Python name.
        """
        if not _NAME.fullmatch(text) or not _WORD.findall(text):
            raise click.UsageError(
                f"{text!r} is not a valid name: it must begin with a letter, followed by letters, digits, "
                "_, - and ." + (f"; {remedy}" if remedy else "")
            )
        return cls(text)

    @property
    def _words(self) -> list[str]:
        return _WORD.findall(self.given)

    @property
    def snake(self) -> str:
        """`send_report`."""
        return "_".join(self._words).lower()

    @property
    def kebab(self) -> str:
        """`send-report`."""
        return self.snake.replace("_", "-")

    @property
    def pascal(self) -> str:
        """`SendReport`."""
        return "".join(word[0].upper() + word[1:].lower() for word in self._words)

    @property
    def camel(self) -> str:
        """`sendReport`."""
        return self.pascal[0].lower() + self.pascal[1:]


def template(name: str) -> str:
    """A template below `templates/`, by its path there; empty if there is none."""
    path = TEMPLATES / f"{name}{_SUFFIX}"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def render(name: str, values: Mapping[str, str]) -> str:
    """A template with its placeholders filled."""
    return _HOLE.sub(lambda hole: values.get(hole[1], hole[0]), template(name))


def spread(indent: int, head: str, items: Sequence[str], tail: str) -> str:
    """Code between brackets as a formatter leaves it: on one line, or one line per item."""
    space = " " * indent
    line = f"{space}{head}{', '.join(items)}{tail}"
    if len(line) <= MAX_COLUMNS:
        return line
    return "\n".join(
        [f"{space}{head}", *(f"{space}    {each}," for each in items), f"{space}{tail}"]
    )


def sentence(words: str) -> str:
    """A description as the one line of a docstring.

    Raises:
        click.ClickException: it is too long for that.
    """
    line = " ".join(words.split())
    if len(line) > MAX_DESCRIPTION:
        raise click.UsageError(
            f"--description: at most {MAX_DESCRIPTION} characters; put the rest into the docstring"
        )
    line = line.replace("\\", "\\\\").replace('"', "'")
    return line if line.endswith((".", "!", "?")) else f"{line}."


def templates_below(folder: str) -> Iterator[str]:
    """The paths of the files that a template directory makes, sorted."""
    root = TEMPLATES / folder
    for path in sorted(root.rglob(f"*{_SUFFIX}")):
        yield path.relative_to(root).as_posix().removesuffix(_SUFFIX)


@dataclass
class Writer:
    """Writes files and tells of each; what exists is never overwritten unasked. A file that has the very text
    already stays as it is.

    Args:
        root: their base directory.
        force: overwrite.
        dry_run: only tell.
        remedy: what to do about a file that stands in the way.
    """

    root: Path
    force: bool = False
    dry_run: bool = False
    remedy: str = "--force overwrites it"
    _texts: dict[str, str] = field(default_factory=dict)
    _ends: dict[str, str] = field(default_factory=dict)

    def add(self, path: str, text: str) -> None:
        """Add a file for `write`."""
        self._texts[path] = text

    def append(self, path: str, text: str) -> None:
        """A text that comes to the end of a file, which is made if it is not there."""
        self._ends[path] = text

    def write(self) -> None:
        """Write all, or nothing.

        Raises:
            click.ClickException: another file is there, or one can't be written.
        """
        same = [path for path, text in self._texts.items() if self._has(path, text)]
        others = {path: each for path in self._texts if (each := self._in_the_way(path))}
        others = {path: each for path, each in others.items() if path not in same}
        if others and not (self.force and all(path == each for path, each in others.items())):
            names = ", ".join(dict.fromkeys(others.values()))
            raise output.fail(Exit.NO, f"there is {names} already; {self.remedy}")
        verbs = {path: "overwrite" if path in others else "create" for path in self._texts}
        verbs |= dict.fromkeys(same, "keep")
        there = [path for path in self._ends if (self.root / path).exists()]
        verbs |= {path: "append to" if path in there else "create" for path in self._ends}
        if not self.dry_run:
            try:
                self._write_all(verbs)
            except OSError as error:
                raise output.fail(Exit.USAGE, f"cannot write there: {error}") from error
        self._tell(verbs)

    def _has(self, path: str, text: str) -> bool:
        try:
            return (self.root / path).read_bytes() == text.encode()
        except OSError:
            return False

    def _in_the_way(self, path: str) -> str:
        """The file itself, if it is there, or a file where it needs a folder; else an empty text."""
        if os.path.lexists(self.root / path):
            return path
        above = next(each for each in (self.root / path).parents if os.path.lexists(each))
        inside = above.is_relative_to(self.root) and not above.is_dir()
        return str(above.relative_to(self.root)) if inside else ""

    def _write_all(self, verbs: Mapping[str, str]) -> None:
        for path, verb in verbs.items():
            file = self.root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            if path in self._ends:
                with file.open("a", encoding="utf-8", newline="") as opened:
                    opened.write(self._ends[path])
            elif verb != "keep":
                file.write_text(self._texts[path], encoding="utf-8")

    def _tell(self, verbs: Mapping[str, str]) -> None:
        if output.wants_json():
            files = [path for path, verb in verbs.items() if verb != "keep"]
            output.json({"files": files, "dry_run": self.dry_run})
            return
        would = "would " if self.dry_run else ""
        for path, verb in verbs.items():
            output.say("  ", output.paint(would + verb, fg="green"), f" {path}")
