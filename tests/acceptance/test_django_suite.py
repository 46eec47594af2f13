"""Django's own tests of its Tasks, with our backend in the place of its own."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.source import ROOT

DJANGO = ("6.0.10", "6.1.3")
# What of Django's backends is not ours, and why.
LEFT_OUT = (
    # A job may not interrupt its worker: there a KeyboardInterrupt is an error as any other.
    "ImmediateBackendTestCase.test_throws_keyboard_interrupt",
    # They change a result in the list of the process; ours are in Redis.
    "DummyBackendTestCase.test_refresh_result",
    "DummyBackendTestCase.test_refresh_result_async",
)
NAMES = {
    r"django\.tasks\.backends\.dummy\.DummyBackend": "__main__.Waiting",
    r"from django\.tasks\.backends\.dummy import DummyBackend": "from __main__ import Waiting as DummyBackend",
    r"django\.tasks\.backends\.immediate\.ImmediateBackend": "__main__.InPlace",
    r"from django\.tasks\.backends\.immediate import ImmediateBackend": (
        "from __main__ import InPlace as ImmediateBackend"
    ),
}  # fmt: skip


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("django", DJANGO)
def test_all_but_three(
    tmp_path: Path, wheel: Path, tell: Callable[[str], None], django: str
) -> None:
    """Of Django 6, which needs Python 3.12."""
    python = next(filter(_runs, ("python3.14", "python3.13", "python3.12")), None)
    if python is None:
        pytest.skip("no Python 3.12 or newer here")
    subprocess.run([python, "-m", "venv", tmp_path / "venv"], check=True)
    program = tmp_path / "venv" / "bin" / "python"
    pip: list[Any] = [program, "-m", "pip", "--quiet"]
    subprocess.run([*pip, "install", f"{wheel}[embedded,testing]", f"django=={django}"], check=True)
    source: list[Any] = [
        f"django=={django}",
        "--no-deps",
        "--no-binary",
        "django",
        "--dest",
        tmp_path,
    ]
    subprocess.run([*pip, "download", *source], check=True)
    _unpack(tmp_path)

    suite = ROOT / "tests" / "contrib" / "django_suite.py"
    done = subprocess.run(
        [program, suite, tmp_path, *LEFT_OUT],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    [line] = re.findall(r"^\d+ tests, \d+ run$", done.stdout, re.MULTILINE)
    tell(f"Django {django}: {line}; left out: {', '.join(LEFT_OUT)}")


def _unpack(folder: Path) -> None:
    """Its tests of Tasks, with the names of our backends."""
    [archive] = folder.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")
    [tests] = folder.glob("*/tests/tasks")
    shutil.move(tests, folder / "tasks")
    for file in (folder / "tasks").glob("*.py"):
        text = file.read_text()
        for name, ours in NAMES.items():
            text = re.sub(name, ours, text)
        file.write_text(text)


def _runs(python: str) -> bool:
    found = shutil.which(python)
    return found is not None and not subprocess.call(
        [found, "-c", "import venv, ensurepip"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
