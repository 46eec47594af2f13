"""Notices changed files of a project, for `resqpy start`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

from resqpy.framework.log import get_logger

WATCHED = ("tasks", "config", "modules", "plugins", "middleware", "initializers", "lib")
EVERY_S = 0.4


async def watch(root: Path, changed: Callable[[], None]) -> None:
    """Call `changed` whenever a Python file in the folders of a project is another than before."""
    before = await asyncio.to_thread(_state, root)
    while True:
        await asyncio.sleep(EVERY_S)
        now = await asyncio.to_thread(_state, root)
        if now != before:
            files = sorted(str(path.relative_to(root)) for path in _differing(before, now))
            get_logger().info("files changed: starting anew", files=files[:5])
            before = now
            changed()


def _differing(before: dict[Path, int], now: dict[Path, int]) -> set[Path]:
    return {path for path in before.keys() | now.keys() if before.get(path) != now.get(path)}


def _state(root: Path) -> dict[Path, int]:
    return dict(_files(root))


def _files(root: Path) -> Iterator[tuple[Path, int]]:
    for folder in WATCHED:
        for path in (root / folder).rglob("*.py"):
            try:
                yield path, path.stat().st_mtime_ns
            except OSError:  # gone meanwhile
                continue
