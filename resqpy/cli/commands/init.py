"""`resqpy init`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from resqpy.base.imports import near_match
from resqpy.cli.arguments.flags import option
from resqpy.cli.group import command
from resqpy.cli.output import printing as output
from resqpy.cli.output.printing import Exit
from resqpy.cli.scaffold.writing import Writer, render
from resqpy.framework.project.layout import FILE, has_task_file, table_of

# Packages beside an application's that are not the application.
_NOT_IT = ("tests", "test", "docs", "examples", "scripts", "migrations")
_NAMES = ("tasks", "jobs", "background")  # of the package, the first that is free


@command(project=False)
@click.argument(
    "directory", type=click.Path(path_type=Path, file_okay=False, exists=True), default="."
)
@option(
    "--tasks",
    "module",
    metavar="MODULE",
    help="The package for tasks, as myapp.tasks (default: `tasks` in the application's package).",
)
@option("--dry-run", is_flag=True, help="Only tell what would be written.")
def init(directory: Path, *, module: str | None, dry_run: bool) -> None:
    """Make a project of an application that is there: a table in its pyproject.toml, and one task.

    Nothing is overwritten.
    """
    known = _read(directory)
    if (table := known.get("tool", {}).get("resqpy")) is not None:
        tasks = ", ".join(map(str, table.get("tasks", ["tasks"])))
        raise output.fail(
            Exit.NO,
            f"{directory / FILE} has [tool.resqpy] already, with tasks in {tasks}; nothing to do",
        )
    root, found = _application(directory, str(known.get("project", {}).get("name", "")))
    package = _checked(module) if module else _free(directory / root, found)
    writer = Writer(directory, dry_run=dry_run, remedy="take another place by --tasks MODULE")
    folder = Path(root, *package.split("."))
    for path, text in _files(directory, folder):
        writer.add(path, text)
    writer.append(FILE, _table(directory, root, package))
    writer.write()
    if not output.wants_json() and not dry_run:
        _tell_next(directory)


def _read(directory: Path) -> dict[str, Any]:
    """What the pyproject.toml says, if there is one."""
    import tomllib

    try:
        table_of(directory)
        return tomllib.loads((directory / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise output.fail(Exit.PROJECT, f"{directory / FILE} can't be read: {error}") from error


def _application(directory: Path, name: str) -> tuple[str, str]:
    """The folder of the code, and the application's package in it; empty texts where there is none."""
    for root in ("src", ""):
        packages = [each.parent.name for each in sorted((directory / root).glob("*/__init__.py"))]
        own = [each for each in packages if each not in _NOT_IT]
        named = [each for each in own if each.lower() == name.lower().replace("-", "_")]
        if own:
            return root, (named or own)[0] if named or len(own) == 1 else ""
    return "", ""


def _free(folder: Path, package: str) -> str:
    for name in _NAMES:
        place = folder / package / name
        if not place.exists() and not place.with_suffix(".py").exists():
            return f"{package}.{name}".strip(".")
    raise click.UsageError(
        f"there are {', '.join(_NAMES)} already; name a package by --tasks MODULE"
    )


def _checked(module: str) -> str:
    if not all(part.isidentifier() for part in module.split(".")):
        dotted = module.removesuffix(".py").strip("./").replace("/", ".")
        raise click.UsageError(
            f"--tasks {module!r} is no dotted name, as myapp.tasks{near_match(module, [dotted])}"
        )
    return module


def _files(directory: Path, folder: Path) -> Iterator[tuple[str, str]]:
    """A package in a package is one by its `__init__.py`, which a build of the application takes along."""
    if (directory / folder.parent / "__init__.py").exists():
        yield f"{folder}/__init__.py", ""
    yield f"{folder}/hello.py", render("init/task.py", {})


def _table(directory: Path, root: str, package: str) -> str:
    """The table, in the file's own line ends."""
    import tomllib

    file = directory / FILE
    old = file.read_bytes().decode() if file.exists() else ""
    before = '"tasks", ' * has_task_file(directory / root)  # which was found without a table
    lines = [
        "[tool.resqpy]",
        *[f'root = "{root}"'] * bool(root),
        f'tasks = [{before}"{package}"]',
        "",
    ]
    end = "\r\n" if "\r\n" in old else "\n"
    gap = "" if not old else end if old.endswith("\n") else end * 2
    text = gap + end.join(lines)
    try:
        tomllib.loads(old + text)
    except ValueError as error:
        raise output.fail(
            Exit.PROJECT,
            f"{file} can't take one more table ({error}); write it there yourself:\n{text}",
        ) from error
    return text


def _tell_next(directory: Path) -> None:
    there = "" if directory == Path() else f"  cd {directory}\n"
    output.say_block(
        f"""
Next:

{there}  resqpy start                         # a worker and a scheduler, new at each change
  resqpy task enqueue hello name=Ada   # from another shell

"""
    )
