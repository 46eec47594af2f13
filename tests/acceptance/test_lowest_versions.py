"""The lowest versions that pyproject.toml allows: resqpy works with them, too."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.support.source import ROOT

CORE = (
    "tests/unit", "tests/store/test_client.py", "tests/store/test_line.py", "tests/store/test_exchange.py",
    "tests/engine/test_worker.py", "tests/engine/test_promotion.py", "tests/plugins/test_retry.py",
    "tests/tracked/test_taking.py", "tests/framework/test_log.py", "tests/framework/test_process.py",
)  # fmt: skip


def lowest() -> list[str]:
    """Each requirement at its lower bound."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = []
    for requirement in map(Requirement, project["dependencies"]):
        [bound] = [each.version for each in requirement.specifier if each.operator == ">="]
        found.append(f"{requirement.name}=={bound}")
    return found


def test_each_requirement_has_a_lower_bound() -> None:
    """One that is tested below."""
    assert all(re.fullmatch(r"[\w-]+==[\d.]+", each) for each in lowest())


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_the_core_works_with_the_lowest_versions(
    tmp_path: Path, tell: Callable[[str], None]
) -> None:
    """What the tests need is locked; then resqpy's own requirements go down, with what those need."""
    python = tmp_path / "venv" / "bin" / "python"
    pip: list[str | Path] = [
        python,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--quiet",
        "install",
    ]
    run([sys.executable, "-m", "venv", tmp_path / "venv"])
    run(
        [
            *pip,
            "--require-hashes",
            "--no-deps",
            "--requirement",
            ROOT / "tests" / "requirements.lock",
        ]
    )
    run([*pip, *lowest()])
    run([*pip, "--no-deps", "--no-build-isolation", "--editable", ROOT])

    done = run([python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *CORE])

    tell(f"{' '.join(lowest())}: {done.stdout.strip().splitlines()[-1]}")


def run(words: list[str | Path]) -> subprocess.CompletedProcess[str]:
    """A command that must succeed."""
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-2000:]}"
    return done
