"""`resqpy generate`."""

from __future__ import annotations

import keyword
import os
import re
from typing import Any

import click

from resqpy.base.imports import import_dotted
from resqpy.cli.arguments.flags import MILLISECONDS, PAIR, option, options
from resqpy.cli.arguments.settings import current, no_project
from resqpy.cli.group import Group
from resqpy.cli.output import printing as output
from resqpy.cli.scaffold.writing import Name, Writer, render, sentence, template
from resqpy.framework.project.layout import Layout


@click.group(cls=Group)
def generate() -> None:
    """Write a new task, plugin, middleware, initializer, command or config section, with its test."""


_manners = options(
    option("--dry-run", is_flag=True, help="Only show what would be written."),
    option("--force", is_flag=True, help="Overwrite existing files."),
)


def _named(kind: str, name: str | None, flag: str | None, module: str | None = None) -> Name:
    """The name as an argument, or as ActionHero's `--name`; a module's prefix is not repeated."""
    if name is None and flag is None:
        raise click.UsageError(f"the name is missing: resqpy generate {kind} NAME")
    made = Name.of((flag or name or "").removeprefix(f"{module}."))
    check_free(kind, made)
    return made


@generate.command()
@click.argument("name", required=False)
@option("--name", "-n", "flag", metavar="NAME", help="The name, instead of the argument.")
@option("--queue", "-q", default="default", show_default=True, metavar="NAME", help="Its queue.")
@option("--description", "-d", metavar="WORDS", help="What it does.")
@option(
    "--frequency",
    "-f",
    type=MILLISECONDS,
    metavar="DURATION",
    help="Run periodically: milliseconds, or 30s, 5m, 1h.",
)
@option("--cron", metavar="EXPRESSION", help="Run at these times, such as '30 7 * * mon-fri'.")
@option(
    "--timezone",
    metavar="ZONE",
    help="Zone of --cron, as Europe/Berlin (default: the project's).",
)
@option("--plugin", "plugins", multiple=True, metavar="NAME", help="A plugin (may be repeated).")
@option("--retry", type=int, metavar="N", help="How often to retry if it fails.")
@option("--timeout", type=MILLISECONDS, metavar="DURATION", help="A run that takes longer fails.")
@option("--blocking", is_flag=True, help="A plain function, which runs in a thread.")
@option(
    "--input",
    "inputs",
    type=PAIR,
    multiple=True,
    help="An input: to:str, at:datetime, note:str? (optional); may be repeated.",
)
@option("--module", metavar="NAME", help="Put it into modules/NAME/ and prefix its name.")
@_manners  # fmt: skip
def task(*, name: str | None, flag: str | None, force: bool, dry_run: bool, **wanted: Any) -> None:
    """Write a task and its test."""
    from resqpy.cli.scaffold.new_task import NewTask

    named = _named("task", name, flag, wanted["module"])
    writer, layout = _writer(force=force, dry_run=dry_run)
    made = NewTask.of(named, wanted, layout)
    init = f"{made.folder}/__init__.py"
    if (writer.root / init).parents[1].joinpath("__init__.py").exists() and not (
        writer.root / init
    ).exists():
        writer.add(init, "")  # a build of the application takes the package along
    writer.add(made.path, made.text())
    writer.add(made.test_path, made.test())
    _write(writer)


def _simple(kind: str, folder: str, words: str) -> None:
    """Add a command for a kind without options of its own."""

    @generate.command(kind, help=words)
    @click.argument("name", required=False)
    @option("--name", "-n", "flag", metavar="NAME", help="The name, instead of the argument.")
    @option("--description", "-d", metavar="WORDS", help="What it does.")
    @_manners
    def one(
        name: str | None, *, flag: str | None, description: str | None, force: bool, dry_run: bool
    ) -> None:
        made = _named(kind, name, flag)
        values = {
            "name": made.camel if kind != "command" else made.kebab,
            "class": made.pascal,
            "file": made.snake,
            "description": sentence(description or f"The {kind} {made.given}"),
            "upper": made.camel.upper(),
        }
        if kind == "config":
            values |= {"name": made.snake, "upper": made.snake.upper()}
        writer, layout = _writer(force=force, dry_run=dry_run)
        code = "." if kind in _OF_THE_FOLDER else os.path.relpath(layout.root, layout.folder)
        path = os.path.normpath(f"{code}/{folder}/{made.snake}.py")
        writer.add(path, render(f"generate/{kind}.py", values))
        if kind != "config":
            # Besides a task of the same name, whose test is tests/test_NAME.py.
            own = made.snake if made.snake.endswith(kind) else f"{made.snake}_{kind}"
            writer.add(f"tests/test_{own}.py", render(f"generate/{kind}_test.py", values))
        _write(writer)


_OF_THE_FOLDER = ("command", "config")  # they are no modules, and stand in the project's folder

_simple("plugin", "plugins", "Write a plugin (code around the run of tasks) and its test.")
_simple(
    "middleware", "middleware", "Write a middleware (code around enqueueing and runs) and its test."
)
_simple("initializer", "initializers", "Write an initializer (set up at boot) and its test.")
_simple("command", "commands", "Write a command of the project, `resqpy NAME`, and its test.")
_simple("config", "config", "Write a section of the config, `api.config.NAME`.")


def _writer(*, force: bool, dry_run: bool) -> tuple[Writer, Layout]:
    from resqpy.framework.project.problems import Problems

    settings = current()
    if not settings.has_project:
        raise no_project(settings.root)
    root = settings.root.resolve()
    problems = Problems(root)
    layout = Layout.of(root, problems, settings.modules)
    problems.check()
    return Writer(root, force=force, dry_run=dry_run), layout


def _write(writer: Writer) -> None:
    """Write, and report immediately if the project can't be loaded with it."""
    writer.write()
    if writer.dry_run:
        return
    from resqpy.framework.project.project import Project

    settings = current()
    for problem in Project.load(writer.root, settings.environment, tasks=settings.modules).errors:
        output.warn(str(problem))


# -- reserved names --


_IMPORTED = re.compile(r"^from [\w.]+ import (.+)$", re.MULTILINE)
# What `api` has besides a project's own initializers.
OF_API = ("config", "log", "redis", "registry", "resque", "schedules", "tasks", "tracked")


def check_free(kind: str, name: Name) -> None:
    """Reject a name that would not work.

    Args:
        kind: `task`, `plugin`, …

    Raises:
        click.UsageError: says what uses the name.
    """
    if keyword.iskeyword(name.snake) or keyword.iskeyword(name.pascal):
        raise click.UsageError(f"{name.given!r} is a Python keyword, so no file can have this name")
    if name.pascal in _imported(kind):
        raise click.UsageError(
            f"a {kind} is derived from {name.pascal}, so it can't have that name itself"
        )
    own = _OWN.get(kind)
    if own is not None:
        spelling, theirs, words = own
        mine = getattr(name, spelling)
        if mine in import_dotted(theirs):
            raise click.UsageError(f"{words.format(mine)}; take another name")


def _imported(kind: str) -> set[str]:
    texts = [template(f"generate/{file}") for file in (f"{kind}.py", f"{kind}_test.py")]
    return set(
        re.findall(r"\w+", " ".join(each for text in texts for each in _IMPORTED.findall(text)))
    )


# By kind: the spelling that is compared, with what, and the message.
_OWN = {
    "command": ("kebab", "resqpy.cli.main:COMMANDS", "`resqpy {}` already exists"),
    "config": (
        "snake",
        "resqpy.framework.config.sections:SECTIONS",
        "config/{}.py is for settings of resqpy itself",
    ),
    "initializer": ("camel", f"{__name__}:OF_API", "api.{} is resqpy's own"),
    "plugin": ("pascal", "resqpy.plugins:__all__", "{} is a built-in plugin"),
}
