"""What a user has: a copy of the project, its wheel, and its programs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.source import ROOT


def _copied(root: Path) -> Path:
    listed = subprocess.check_output(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, text=True
    )
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
    return root


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A copy of the files, as a clone has them when all is committed."""
    return _copied(tmp_path / "clone")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The wheel that is built of such a copy."""
    folder = tmp_path_factory.mktemp("wheel")
    source = _copied(folder / "clone")
    build = "-m pip wheel --quiet --no-deps --no-build-isolation -w"
    subprocess.run(
        [sys.executable, *build.split(), folder, source], check=True, capture_output=True
    )
    [built] = folder.glob("*.whl")
    yield built
    shutil.rmtree(folder)


@pytest.fixture
def user_environ() -> dict[str, str]:
    """The environment of somebody's shell: nothing of pytest, resqpy or Redis in it."""
    foreign = ("PYTEST", "RESQPY", "REDIS", "COV_", "VIRTUAL_ENV", "PYTHONPATH")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**clean, "TZ": "UTC"}


@pytest.fixture
def user_here(user_environ: dict[str, str]) -> dict[str, str]:
    """The same, with resqpy as it is installed for these tests."""
    return with_path(user_environ, Path(sys.executable).parent)


def with_path(environ: dict[str, str], folder: Path) -> dict[str, str]:
    """An environment in which the programs of a folder come first."""
    return {**environ, "PATH": f"{folder}{os.pathsep}{environ['PATH']}"}
