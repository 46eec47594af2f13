"""Names that nothing new can have: Python's words, what a template imports, and what resqpy has itself."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Iterable

import click

from resqpy.cli.scaffold import Name, template

_IMPORTED = re.compile(r"^from [\w.]+ import (.+)$", re.MULTILINE)
# What `api` has besides a project's own initializers.
OF_API = ("config", "log", "redis", "registry", "resque", "tasks", "tracked")


def check_free(kind: str, name: Name) -> None:
    """Refuse a name that would not work.

    Args:
        kind: `task`, `plugin`, …

    Raises:
        click.UsageError: with what has the name.
    """
    if keyword.iskeyword(name.snake) or keyword.iskeyword(name.pascal):
        raise click.UsageError(f"{name.given!r} is a word of Python, so no file can have this name")
    if name.pascal in _imported(kind):
        raise click.UsageError(
            f"a {kind} is made with {name.pascal}, so it can't have that name itself"
        )
    own = _OWN.get(kind)
    if own is not None:
        mine, theirs, words = own
        if mine(name) in theirs():
            raise click.UsageError(f"{words.format(mine(name))}; take another name")


def _imported(kind: str) -> set[str]:
    texts = [template(f"generate/{file}") for file in (f"{kind}.py", f"{kind}_test.py")]
    return set(
        re.findall(r"\w+", " ".join(each for text in texts for each in _IMPORTED.findall(text)))
    )


def _commands() -> Iterable[str]:
    from resqpy.cli.main import COMMANDS

    return COMMANDS


def _sections() -> Iterable[str]:
    from resqpy.framework.sections import SECTIONS

    return SECTIONS


def _plugins() -> Iterable[str]:
    from resqpy import plugins

    return plugins.__all__


_OWN: dict[str, tuple[Callable[[Name], str], Callable[[], Iterable[str]], str]] = {
    "command": (lambda name: name.kebab, _commands, "`resqpy {}` is there already"),
    "config": (lambda name: name.snake, _sections, "config/{}.py is for settings of resqpy itself"),
    "initializer": (lambda name: name.camel, lambda: OF_API, "api.{} is resqpy's own"),
    "plugin": (lambda name: name.pascal, _plugins, "{} is a plugin that resqpy brings"),
}
