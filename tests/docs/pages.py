"""The Python examples of a page of the docs, and the project in which they run.

A block that begins with a file's name (`# tasks/mail.py`) is that file of a project, also one of TOML.
All other blocks of a page run one after the other in one namespace, with `await`, while the project is
open. What an example needs and a reader doesn't stands in a hidden block, which is run like the others:

    <!-- python
    from resqpy import task
    -->
"""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_BLOCK = re.compile(
    r"^ *```(?:python|toml)\n(.*?)^ *```$|^<!-- python\n(.*?)^-->$", re.DOTALL | re.MULTILINE
)
_FILE = re.compile(r"# ([\w./-]+\.(?:py|toml))\n")
_OTHERS_REDIS = re.compile(r"redis://(?:127\.0\.0\.1|localhost)(?::6379)?(?:/0)?")


@dataclass(frozen=True)
class Block:
    """An example.

    Attributes:
        line: where it begins on its page.
        file: which file of the project it is; None: it is run as it stands.
    """

    page: Path
    line: int
    code: str

    @property
    def file(self) -> str | None:
        found = _FILE.match(self.code)
        return found[1] if found else None


def pages() -> list[Path]:
    """All pages that have examples."""
    return [page for page in sorted(DOCS.rglob("*.md")) if _BLOCK.search(page.read_text())]


def blocks(page: Path) -> Iterator[Block]:
    """The examples of a page, in their order."""
    text = page.read_text()
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start()) + 2
        yield Block(page, line, inspect.cleandoc("\n" + (found[1] or found[2])) + "\n")


class Stage:
    """The project of a page.

    Args:
        root: an empty folder.
        url: the test's Redis.
    """

    def __init__(self, root: Path, url: str) -> None:
        self.root = root
        self.namespace: dict[str, Any] = {"__name__": "example"}
        self._url = url

    def write(self, block: Block) -> None:
        """Write a file of the project; a further block of the same name is its end."""
        path = self.root / (block.file or "")
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.read_text() + "\n" if path.exists() else ""
        path.write_text(before + block.code)

    async def run(self, block: Block) -> None:
        """Run an example in the page's namespace."""
        code = _OTHERS_REDIS.sub(self._url, block.code)
        compiled = compile(
            "\n" * (block.line - 1) + code,
            str(block.page.relative_to(ROOT)),
            "exec",
            flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
        )
        result = eval(compiled, self.namespace)
        if inspect.isawaitable(result):
            await result

    # -- files that are programs --

    def run_program(self, file: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the project's folder."""
        return self._python(file)

    def run_tests(self) -> subprocess.CompletedProcess[str]:
        """Run the project's tests, with the fixtures that users have."""
        installed = [each for each in entry_points(group="pytest11") if each.name == "resqpy"]
        plugin = [] if installed else ["-p", "resqpy.testing.plugin"]
        generated = ["-o", "asyncio_mode=auto"]  # as `resqpy new` writes it into pyproject.toml
        return self._python(
            "-m", "pytest", "-q", "-p", "no:cacheprovider", *generated, *plugin, "tests"
        )

    def _python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        more: Mapping[str, str] = {
            "REDIS_URL": self._url,
            "PYTHONPATH": os.pathsep.join((str(self.root), str(ROOT))),
        }
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.root,
            env={**os.environ, **more},
            capture_output=True,
            text=True,
            timeout=25,
            check=False,
        )
