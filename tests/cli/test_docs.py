"""The documents of the command line say what it does."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from resqpy.cli.arguments.flags import CommandOption
from resqpy.engine.options import ScalingOptions
from resqpy.framework.config.merge import KNOWN
from tests.cli import tour
from tests.cli.reference import DOC, SHARED, commands, in_document
from tests.cli.tour_steps import STEPS
from tests.support.foreign import NodeDriver
from tests.support.other_languages import require
from tests.support.source import ROOT


def test_the_reference_is_that_of_the_code() -> None:
    """If not: `python -m tests.cli.reference`."""
    assert in_document(DOC.read_text()) == DOC.read_text()


@pytest.mark.xdist_group("tour")
def test_the_tour_is_what_the_commands_print(tmp_path: Path) -> None:
    """If not: `python -m tests.cli.tour`. Times and widths of columns may differ."""
    require("node", NodeDriver.missing())
    made = tmp_path / "tour.md"

    subprocess.run([sys.executable, "-m", "tests.cli.tour", str(made)], cwd=ROOT, check=True)

    assert tour.normal(made.read_text()) == tour.normal(tour.DOC.read_text())


def test_the_tour_has_every_command_with_its_options() -> None:
    """Of the help, of all groups; the options in the tour, or in a help that it shows."""
    taken = [shlex.split(each) for step in STEPS if not isinstance(step, str) for each in step]
    same: dict[int, list[click.Context]] = {}  # `task get` is `tracked get`
    for ctx, command in commands():
        same.setdefault(id(command), []).append(ctx)
    missing = [
        f"{paths[0].command_path} {option}"
        for paths in same.values()
        for option in _options(paths[0].command)
        if not any(_shows(words, ctx, option) for words in taken for ctx in paths)
    ]

    assert missing == []


def test_the_help_names_the_defaults_of_the_settings() -> None:
    """Of each flag that overrides a setting, if its help has one."""
    said = [
        (param.setting, found[1])
        for _, command in commands()
        for param in command.params
        if isinstance(param, CommandOption) and param.setting
        if (found := re.search(r"\(default: ([^;)]+)", param.help or ""))
    ]
    wrong = [(path, text) for path, text in said if KNOWN[path].parsed(text) != _default(path)]

    assert said
    assert wrong == []


def _default(path: str) -> Any:
    """What holds for a worker: where the config says that there is none, the engine's own."""
    return getattr(ScalingOptions, path.partition(".")[2], KNOWN[path].default)


def _options(command: click.Command) -> Iterator[str]:
    yield ""  # the command alone
    for param in command.params:
        if isinstance(param, click.Option) and param.name not in SHARED:
            yield max(param.opts, key=len)


def _shows(words: list[str], ctx: click.Context, option: str) -> bool:
    path = ctx.command_path.split()[1:]
    group = ctx.parent.command if ctx.parent else None
    if getattr(group, "default", None) == path[-1] and path[-1] not in words[: len(path)]:
        path.pop()
    return words[: len(path)] == path and (not option or option in words or "--help" in words)
