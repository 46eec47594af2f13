"""What the options that all commands share have said."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from resqpy.base.masking import Redaction
from resqpy.cli.folder import find_root


@dataclass
class Settings:
    """The shared options of one call.

    Attributes:
        root: the project's folder.
        redaction: what hides secrets in all that is printed; the project's, once its config is known.
        overrides: settings of the config by path: texts as they were given, or True and False.
        flags: the option that said it, for messages.
    """

    root: Path = field(default_factory=find_root)
    environment: str | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    flags: dict[str, str] = field(default_factory=dict)
    json: bool = False
    debug: bool = False
    yes: bool = False
    redaction: Redaction = field(default_factory=Redaction)

    def override(self, path: str, *, value: Any, flag: str) -> None:
        """Note what a flag says of a setting."""
        self.overrides[path] = value
        self.flags[path] = flag

    def parsed(self) -> dict[str, Any]:
        """The overrides as the config wants them.

        Raises:
            click.ClickException: a flag's value is wrong; the message names the flag.
        """
        from resqpy.base.errors import UsageError
        from resqpy.framework.config_merge import KNOWN

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
