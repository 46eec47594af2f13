"""The examples of a page of the docs, and the project in which they run.

A block that begins with a file's name (`# tasks/mail.py`) is that file of a project, whatever its kind.
All other blocks of Python run one after the other in one namespace, with `await`, while the project is
open; so do the commands of a `console` block, by the rules of tests/support/documents.py. What an example
needs and a reader doesn't stands in a hidden block, which is run like the others:

    <!-- python
    from resqpy import task
    -->

What can't be run or checked says why, in the line before it: `<!-- not run: a drawing -->`.
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

from tests.support.documents import Reader, commands

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_BLOCK = re.compile(
    r"(?:^ *<!-- not run: (?P<reason>[^\n]+) -->\n)?^ *```(?P<kind>\w*)\n(?P<code>.*?)^ *```$"
    r"|^<!-- python\n(?P<hidden>.*?)^-->$",
    re.DOTALL | re.MULTILINE,
)
_FILE = re.compile(r"# ([\w./-]+\.\w+)\n")
_OTHERS_REDIS = re.compile(r"redis://(?:127\.0\.0\.1|localhost)(?::6379)?(?:/0)?")


@dataclass(frozen=True)
class Block:
    """An example.

    Attributes:
        line: where it begins on its page.
        kind: of what it is an example, as the fence says it.
        reason: why it is not run.
        file: which file of the project it is; None: it is run as it stands.
    """

    page: Path
    line: int
    kind: str
    code: str
    reason: str | None = None

    @property
    def file(self) -> str | None:
        found = _FILE.match(self.code)
        return found[1] if found else None

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """All pages that have examples."""
    return [page for page in sorted(DOCS.rglob("*.md")) if _BLOCK.search(page.read_text())]


def blocks(page: Path) -> Iterator[Block]:
    """The examples of a page, in their order."""
    text = page.read_text()
    for found in _BLOCK.finditer(text):
        code = found["code"] or found["hidden"] or ""
        line = text.count("\n", 0, found.end() - len(code)) + 1
        kind = "python" if found["hidden"] else found["kind"]
        yield Block(page, line, kind, inspect.cleandoc("\n" + code) + "\n", found["reason"])


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
        self._environ: Mapping[str, str] = {
            **os.environ,
            "REDIS_URL": url,
            "PYTHONPATH": os.pathsep.join((str(root), str(ROOT))),
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
        }

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

    def type(self, block: Block) -> None:
        """Type the commands of a console, and compare what they print."""
        with Reader(self.root, self._environ) as reader:
            for step in commands(block.code, block.line):
                reader.do(step)

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
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.root,
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
