"""A shell in a project's folder, with `resqpy` as a program of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

FOREIGN = ("RESQPY", "RESQUE", "REDIS", "QUEUE")


def write(folder: Path, files: dict[str, str]) -> None:
    """Write files, by their paths below a folder."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(dedent(text))


class Shell:
    """A shell whose REDIS_URL is the test's Redis.

    Args:
        environ: more variables.
    """

    def __init__(self, root: Path, url: str, **environ: str) -> None:
        self.root = root
        own = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        self._environ = {**own, "REDIS_URL": url, "PYTHONDONTWRITEBYTECODE": "1", **environ}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Begin a command; both of its outputs come together."""
        return subprocess.Popen(
            self._command(arguments),
            cwd=self.root,
            env=self._environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str, timeout: float = 25) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self._command(arguments),
            cwd=self.root,
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    @staticmethod
    def _command(arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "resqpy.cli", *arguments]
