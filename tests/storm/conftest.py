"""What a proof does with its figures, and the code of an older version."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.storm import figures
from tests.storm.fleet import HERE

# The last one before exchanges had epochs; another one may be given.
OLDER = os.environ.get("RESQPY_OLDER_COMMIT", "5bbf928")


@pytest.fixture
def keep(pytestconfig: pytest.Config) -> Callable[[str, dict[str, Any]], None]:
    """Writes the figures of a proof down, if --write-figures is given."""
    return (
        figures.write if pytestconfig.getoption("--write-figures") else lambda _name, _figures: None
    )


@pytest.fixture(scope="session")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the code of the older commit."""
    known = subprocess.run(
        ["git", "cat-file", "-e", f"{OLDER}^{{commit}}"], cwd=HERE, capture_output=True, check=False
    )
    if known.returncode != 0:
        pytest.skip(f"the commit {OLDER} is not in this clone (git fetch --unshallow brings it)")
    folder = tmp_path_factory.mktemp("older")
    archive = subprocess.run(
        ["git", "archive", OLDER, "resqpy"], cwd=HERE, capture_output=True, check=True
    )
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder
