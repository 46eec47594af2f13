"""Commands of the project: `commands/NAME.py` with a click command named `command`."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import click

from resqpy.cli import output
from resqpy.cli.exits import Exit
from resqpy.cli.folder import find_root


def _folder() -> Path:
    return Path(os.environ.get("RESQPY_ROOT") or find_root()) / "commands"


def names() -> list[str]:
    """Their names: those of the files, with `-` for `_`."""
    files = sorted(_folder().glob("[!_]*.py"))
    return [path.stem.replace("_", "-") for path in files]


def words(name: str) -> str:
    """The first line of a file's docstring; the file is not run for it."""
    try:
        doc = ast.get_docstring(ast.parse(_path(name).read_text(encoding="utf-8")))
    except (OSError, SyntaxError, ValueError):
        return "(can't be read)"
    return (doc or "").partition("\n")[0]


def load(name: str) -> click.Command:
    """The command.

    Raises:
        click.ClickException: the file has none.
    """
    from resqpy.base.imports import import_file

    path = _path(name)
    found = getattr(import_file(path, f"_resqpy_commands.{path.stem}"), "command", None)
    if not isinstance(found, click.Command):
        raise output.fail(
            Exit.PROJECT, f"{path} has no click command named `command` (resqpy generate command)"
        )
    return found


def _path(name: str) -> Path:
    return _folder() / f"{name.replace('-', '_')}.py"
