"""What a user has: a copy of the project, and its programs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.source import ROOT


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A copy of the files, as a clone has them when all is committed."""
    root = tmp_path / "clone"
    listed = subprocess.check_output(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, text=True
    )
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
    return root


@pytest.fixture
def user_environ() -> dict[str, str]:
    """The environment of somebody's shell: nothing of pytest, resqpy or Redis in it."""
    foreign = ("PYTEST", "RESQPY", "REDIS", "COV_", "VIRTUAL_ENV", "PYTHONPATH")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
