"""Command lines in prose: whether the commands, options, scripts and extras that they name exist."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache

import click

from resqpy.cli.main import cli
from tests.docs.pages import ROOT

_PLACEHOLDER = re.compile(r"[A-Z…<{]|\.\.\.")


def problem_of(line: str) -> str | None:
    """What is wrong with a command line; None: nothing that we know of."""
    words = [word for word in _words(line) if not re.match(r"[A-Z_]+=", word)]
    if not words:
        return None
    if words[0] == "resqpy":
        return _of_resqpy(words[1:], line)
    if words[0].startswith("bin/") and not (ROOT / words[0]).is_file():
        return f"there is no {words[0]}"
    if words[:2] == ["pip", "install"]:
        return _of_extras(line)
    return None


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:  # an apostrophe of prose
        return line.split()


def _of_resqpy(words: list[str], line: str) -> str | None:
    command: click.Command = cli
    options = _options_of(cli)
    for word in words:
        if word.startswith("-") and word != "-":
            options = options | _options_of(command)
            if word.partition("=")[0] not in options:
                return f"{line}: no option {word}"
        elif isinstance(command, click.Group):
            inner = command.get_command(click.Context(command), word)
            if inner is None and _PLACEHOLDER.match(word):
                break
            if inner is None and getattr(command, "default", None) is None:
                return f"{line}: {command.name} has no command {word!r}"
            command = inner or command
    return None


def _options_of(command: click.Command) -> set[str]:
    """A group that has a command for when none is named takes that one's options, or another's."""
    context = click.Context(command)
    names = {
        name for each in command.get_params(context) for name in (*each.opts, *each.secondary_opts)
    }
    if getattr(command, "default", None) is not None:
        names |= {name for inner in _inside(command) for name in _options_of(inner)}
    return names


def _inside(command: click.Command) -> list[click.Command]:
    if not isinstance(command, click.Group):
        return []
    context = click.Context(command)
    found = [command.get_command(context, name) for name in command.list_commands(context)]
    return [each for each in found if each is not None]


def _of_extras(line: str) -> str | None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [
        extra for found in re.findall(r"resqpy\[([\w,]+)\]", line) for extra in found.split(",")
    ]
    missing = set(named) - set(project["optional-dependencies"])
    return f"{line}: no extra {sorted(missing)}" if missing else None


@cache
def all_options() -> set[str]:
    """The options of all commands."""
    return {name for command in _all(cli) for name in _options_of(command)}


def _all(command: click.Command) -> Iterator[click.Command]:
    yield command
    for inner in _inside(command):
        yield from _all(inner)
