"""The tutorial, done by somebody who has nothing; from the built wheel in the full run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.documents import follow
from tests.support.source import ROOT

TUTORIAL = ROOT / "docs" / "tutorial" / "first-project.md"


def _with_path(environ: dict[str, str], folder: Path) -> dict[str, str]:
    return {**environ, "PATH": f"{folder}{os.pathsep}{environ['PATH']}", "TZ": "UTC"}


@pytest.mark.timeout(120)
def test_the_tutorial(tmp_path: Path, user_environ: dict[str, str]) -> None:
    """Project, task, test, start, enqueue, failed list, retry: each command prints what it says."""
    environ = _with_path(user_environ, Path(sys.executable).parent)

    commands = follow(TUTORIAL.read_text(), tmp_path, environ)

    assert commands >= 14


@pytest.mark.full
@pytest.mark.timeout(600)
def test_the_tutorial_from_the_wheel(
    tmp_path: Path, clone: Path, user_environ: dict[str, str]
) -> None:
    """As one who installs it: within five minutes, with what the wheel carries and nothing else."""
    began = time.monotonic()
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    folder = tmp_path / "user"
    _run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path, clone], user_environ)
    [wheel] = tmp_path.glob("*.whl")
    built = time.monotonic()
    _run([sys.executable, "-m", "venv", folder / ".venv"], user_environ)
    program = folder / ".venv" / "bin"
    _run([program / "pip", "install", "--quiet", wheel, "pytest", "pytest-asyncio"], user_environ)
    installed = time.monotonic()

    follow(TUTORIAL.read_text(), folder, _with_path(user_environ, program))
    done = time.monotonic()

    print(
        f"\nbuilt in {built - began:.1f} s, installed in {installed - built:.1f} s, "
        f"the tutorial took {done - installed:.1f} s"
    )
    assert done - built < 300


def _run(command: list[object], environ: dict[str, str]) -> None:
    done = subprocess.run(
        list(map(str, command)), env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
