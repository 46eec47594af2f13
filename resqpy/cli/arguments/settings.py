"""The values of the shared options, and the project's directory: this one, or the nearest project above, as
git and cargo search. Used by the help, so nothing heavy is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from resqpy.base.masking import Redaction
from resqpy.framework.project.layout import has_table

CONFIG, CODE = "config", ("tasks", "modules")


def is_project(root: Path) -> bool:
    """Whether a directory contains anything of a project."""
    return any((root / name).is_dir() for name in (CONFIG, *CODE)) or has_table(root)


def find_root() -> Path:
    """The project's directory as seen from the current one; the current one if none is found.

    The current folder is a project if anything of one is in it. One above must have `[tool.resqpy]` in its
    pyproject.toml, or `config/` beside `tasks/` or `modules/`, since a lone `tasks/` or `config/` up there
    may be anybody's; and its owner must be the same, so that nobody's code is run because he put it into
    /tmp.
    """
    try:
        here = Path.cwd()
        found = Path() if is_project(here) else _above(here)
        return _without_module(here, found)
    except OSError:  # the directory is gone, or not readable
        return Path()


def no_project(root: Path, *more: str) -> click.UsageError:
    """The error for a directory without a project.

    Args:
        more: additional remedies.
    """
    above = next((each for each in root.resolve().parents if is_project(each)), None)
    remedies = (
        "go to a project's directory",
        "name its modules with tasks by --app (as --app myapp.jobs)",
        "specify one with --root" + ("" if above is None else f" (as --root {above})"),
        *more,
        "or make one by `resqpy new DIR`, or of an application that is there by `resqpy init`",
    )
    return click.UsageError(
        f"there is no project in {root.resolve()} (no tasks/, no config/ and no [tool.resqpy] in a "
        f"pyproject.toml): {', '.join(remedies)}"
    )


def _above(here: Path) -> Path:
    owner = here.stat().st_uid
    for folder in here.parents:
        if folder.stat().st_uid != owner:
            break
        if _is_whole(folder):
            return folder
    return Path()


def _is_whole(folder: Path) -> bool:
    usual = (folder / CONFIG).is_dir() and any((folder / name).is_dir() for name in CODE)
    return usual or has_table(folder)


def _without_module(here: Path, found: Path) -> Path:
    """A module's directory looks like a project; it is part of the one that has it in `modules/`."""
    modules = (here / found).parent
    whole = modules.name == "modules" and _is_whole(modules.parent)
    return modules.parent if whole else found


@dataclass
class Settings:
    """The shared options of one call.

    Attributes:
        root: the project's folder.
        app: modules with tasks, with commas, instead of those that the project names.
        redaction: what hides secrets in all that is printed; the project's, once its config is known.
        overrides: settings of the config by path: texts as they were given, or True and False.
        flags: the option that said it, for messages.
    """

    root: Path = field(default_factory=find_root)
    app: str | None = None
    environment: str | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    flags: dict[str, str] = field(default_factory=dict)
    json: bool = False
    debug: bool = False
    yes: bool = False
    redaction: Redaction = field(default_factory=Redaction)

    @property
    def modules(self) -> tuple[str, ...] | None:
        """The modules with tasks that were named; None: those of the project."""
        if self.app is None:
            return None
        return tuple(each.strip() for each in self.app.split(",") if each.strip())

    @property
    def has_project(self) -> bool:
        """Whether the folder is a project, or modules were named."""
        return self.app is not None or is_project(self.root)

    def override(self, path: str, *, value: Any, flag: str) -> None:
        """Set a setting from a flag."""
        self.overrides[path] = value
        self.flags[path] = flag

    def parsed(self) -> dict[str, Any]:
        """The overrides, parsed for the config.

        Raises:
            click.ClickException: a flag's value is wrong; the message names the flag.
        """
        from resqpy.base.errors import UsageError
        from resqpy.framework.config.merge import KNOWN

        found = {}
        for path, value in self.overrides.items():
            option = KNOWN[path]
            try:
                made = option.parsed(value) if isinstance(value, str) else option.checked(value)
                found[path] = made
            except UsageError as error:
                raise click.UsageError(f"{self.flags[path]}: {error}") from error
        return found


def current() -> Settings:
    """The settings of the running command."""
    settings: Settings = click.get_current_context().ensure_object(Settings)
    return settings
