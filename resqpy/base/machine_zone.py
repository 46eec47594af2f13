"""The time zone of this machine by its name: that of a Ruby process beside us, which has no other."""

from __future__ import annotations

import os
from pathlib import Path
from zoneinfo import ZoneInfo

LOCALTIME = Path("/etc/localtime")
_FOLDER = "zoneinfo/"


def machine_zone(localtime: Path = LOCALTIME) -> str:
    """A name of the tz database: from `TZ`, else from where the link `localtime` leads; else UTC."""
    for text in (os.environ.get("TZ", ""), _target(localtime)):
        name = text.removeprefix(":").rpartition(_FOLDER)[2]
        if _is_zone(name):
            return name
    return "UTC"


def _target(link: Path) -> str:
    try:
        return str(link.resolve(strict=True)) if link.is_symlink() else ""
    except OSError:
        return ""


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return bool(name)
