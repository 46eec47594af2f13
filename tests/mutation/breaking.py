"""Breaks one line in a copy of the tree, and runs the test that must fail then."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.mutation.table import Mutant

ROOT = Path(__file__).parents[2]
LEFT_OUT = shutil.ignore_patterns(
    ".git",
    ".venv",
    ".*_cache",
    "__pycache__",
    "node_modules",
    ".resqpy",
    ".hypothesis",
    ".coverage*",
)
TIMEOUT_S = 300.0
FAILED = 1  # pytest: some test failed; other codes than this and 0 say that none was run


class Tried(NamedTuple):
    """What became of a mutant.

    Attributes:
        killed: the test passed unbroken and failed broken.
        words: what happened otherwise.
    """

    killed: bool
    words: str


class Stale(Exception):
    """The line of a mutant is not there, or not once."""


def lines_of(mutant: Mutant, root: Path = ROOT) -> int:
    """How many such lines there are in its file."""
    try:
        text = (root / mutant.path).read_text()
    except FileNotFoundError:
        return 0
    return [line.strip() for line in text.splitlines()].count(mutant.line)


@contextmanager
def copied(folder: Path) -> Iterator[Path]:
    """A copy of the tree, without what tools have left in it."""
    copy = folder / "tree"
    shutil.copytree(ROOT, copy, ignore=LEFT_OUT, symlinks=True)
    try:
        yield copy
    finally:
        shutil.rmtree(copy, ignore_errors=True)


@contextmanager
def broken(mutant: Mutant, root: Path) -> Iterator[None]:
    """The tree at `root` with the broken line.

    Raises:
        Stale: there is no such line, or more than one.
    """
    if (count := lines_of(mutant, root)) != 1:
        raise Stale(f"{mutant.path} has {count} lines that say {mutant.line!r}")
    path = root / mutant.path
    before = path.read_text()
    after = [
        line.replace(mutant.line, mutant.broken) if line.strip() == mutant.line else line
        for line in before.splitlines(keepends=True)
    ]
    path.write_text("".join(after))
    try:
        yield
    finally:
        path.write_text(before)


def run_test(test: str, root: Path) -> tuple[int, str]:
    """Pytest's exit code and what it printed, of the code in a copy of the tree."""
    search = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH"))))
    environ = {**os.environ, "PYTHONPATH": search, "PYTHONDONTWRITEBYTECODE": "1"}
    environ = {name: value for name, value in environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--all", test]
    done = subprocess.run(
        command,
        cwd=root,
        env=environ,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def try_mutant(mutant: Mutant, root: Path) -> Tried:
    """Run its test in a copy of the tree, as it is and broken."""
    code, said = run_test(mutant.test, root)
    if code != 0:
        return Tried(killed=False, words=f"{mutant.test} does not pass unbroken:\n{said}")
    try:
        with broken(mutant, root):
            code, said = run_test(mutant.test, root)
    except Stale as stale:
        return Tried(killed=False, words=str(stale))
    if code == FAILED:
        return Tried(killed=True, words="")
    outcome = (
        "passes all the same" if code == 0 else f"could not be run (exit code {code}):\n{said}"
    )
    return Tried(killed=False, words=f"{mutant.test} {outcome}")
