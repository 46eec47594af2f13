"""What the options that all commands share have said. The help asks for it, so nothing heavy is imported
here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from resqpy.base.masking import Redaction
from resqpy.framework.project.root import find_root, is_project, modules_of


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
        f"there is no project in {root.resolve()} (no tasks/ or tasks.py, no config/ and no [tool.resqpy] in "
        f"a pyproject.toml): {', '.join(remedies)}"
    )


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
        return modules_of(self.app)

    @property
    def has_project(self) -> bool:
        """Whether the folder is a project, of Django's or ours, or modules were named."""
        named = self.app is not None or bool(os.environ.get("DJANGO_SETTINGS_MODULE"))
        return named or is_project(self.root)

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
