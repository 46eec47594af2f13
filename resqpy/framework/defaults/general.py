"""`config/general.py`: what concerns the project as a whole."""

from __future__ import annotations

from dataclasses import dataclass

from resqpy.framework.kinds import FLAG, TEXT_OR_NONE, TEXTS, ZONE
from resqpy.framework.options import option


@dataclass(frozen=True, kw_only=True)
class GeneralConfig:
    """The project."""

    name: str | None = option(
        None,
        TEXT_OR_NONE,
        "The application's name, in each log line; None: the folder's name.",
        "APP_NAME",
    )
    timezone: str = option("UTC", ZONE, "The time zone of cron tasks that name none.")
    modules: tuple[str, ...] = option(
        ("*",), TEXTS, "Which folders below modules/ are loaded, in this order; '*': all others."
    )
    packages: bool = option(
        True,
        FLAG,
        "Whether installed packages may bring tasks, plugins and initializers (entry points).",
    )
