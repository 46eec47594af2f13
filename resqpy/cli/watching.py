"""Notices changed files of a project, for `resqpy start`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from resqpy.framework.log import get_logger

# Folders that no running task imports from; hidden ones and virtual environments are left out too.
LEFT_OUT = ("__pycache__", "build", "deploy", "dist", "docs", "node_modules", "tests")
EVERY_S = 0.4


async def watch(root: Path, changed: Callable[[], None]) -> None:
    """Call `changed` whenever a Python file of a project is another than before."""
    before = await asyncio.to_thread(_state, root)
    while True:
        await asyncio.sleep(EVERY_S)
        now = await asyncio.to_thread(_state, root)
        if now != before:
            files = sorted(str(path.relative_to(root)) for path in _differing(before, now))
            get_logger().info("files changed: restarting", files=files[:5])
            before = now
            changed()


def _differing(before: dict[Path, int], now: dict[Path, int]) -> set[Path]:
    return {path for path in before.keys() | now.keys() if before.get(path) != now.get(path)}


def _state(root: Path) -> dict[Path, int]:
    return dict(files_of(root))


def files_of(root: Path) -> Iterator[tuple[Path, int]]:
    """The files that are watched, and when each was changed."""
    for folder, below, names in os.walk(root):
        below[:] = [name for name in below if _is_watched(Path(folder, name))]
        for path in (Path(folder, name) for name in names if name.endswith(".py")):
            try:
                yield path, path.stat().st_mtime_ns
            except OSError:  # gone meanwhile
                continue


def _is_watched(folder: Path) -> bool:
    name = folder.name
    return not (name.startswith(".") or name in LEFT_OUT or (folder / "pyvenv.cfg").exists())
