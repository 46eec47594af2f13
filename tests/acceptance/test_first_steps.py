"""A new user's way: the README's first steps from the built wheel, in their order, with their times."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.conftest import with_path
from tests.support.documents import Done, follow
from tests.support.source import ROOT

README = (ROOT / "README.md").read_text()
FIRST_STEPS = README.partition("\n## First steps\n")[2].partition("\n## ")[0]
TUTORIAL = (ROOT / "docs" / "tutorial" / "first-project.md").read_text()
WITHIN_S = 300

# The way that is promised, in its order: each begins a step of the README.
WAY = (
    "pip install",
    "resqpy new demo",
    "cd demo",
    "resqpy start",
    "resqpy generate task",
    "pytest -q tests/test_",
    "resqpy task enqueue",
    "(see … [info     ] job succeeded",
    "resqpy failed",
    "resqpy failed retry",
    "(see … [info     ] job succeeded",
)


def test_the_order_of_the_readme() -> None:
    """Every step of the way stands there, none of them later than it should."""
    told = re.findall(r"^(?:\$ )?(.+)", FIRST_STEPS, re.MULTILINE)
    lines = iter([f"(see {line}" if line.startswith("…") else line for line in told])

    assert [step for step in WAY if not any(line.startswith(step) for line in lines)] == []


def test_from_the_wheel(
    tmp_path: Path,
    wheel: Path,
    user_environ: dict[str, str],
    tell: Callable[[str], None],
) -> None:
    """In an environment of its own, whose other packages are those of these tests (no download)."""
    program = tmp_path / ".venv" / "bin"
    took = _type(f"{sys.executable} -m venv --without-pip .venv", tmp_path, user_environ)
    [library] = (tmp_path / ".venv").glob("lib/python*/site-packages")
    (library / "others.pth").write_text(str(Path(pytest.__file__).parents[1]))
    install = f"{sys.executable} -m pip --python {program}/python install --no-deps --quiet {wheel}"
    took += _type(install, tmp_path, user_environ)
    (program / "pytest").write_text(f'#!/bin/sh\nexec {program}/python -m pytest "$@"\n')
    (program / "pytest").chmod(0o755)

    done = follow(FIRST_STEPS, tmp_path, with_path(user_environ, program))

    assert (library / "resqpy" / "__init__.py").exists()
    tell(_table([Done("venv, pip install (no download)", took), *done]))


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("python", ["python3.11", "python3.12", "python3.13", "python3.14"])
@pytest.mark.parametrize("page", [FIRST_STEPS, TUTORIAL], ids=["README", "tutorial"])
def test_with_each_python(
    tmp_path: Path,
    wheel: Path,
    user_environ: dict[str, str],
    python: str,
    page: str,
    tell: Callable[[str], None],
) -> None:
    """By the very commands of the page, within five minutes."""
    if not _runs(python):
        pytest.skip(f"no {python} here")
    done = []
    for line in _shell_lines(page):
        command = line.replace("python3 ", f"{python} ").replace("./resqpy[", f"{wheel}[")
        environ = with_path(user_environ, tmp_path / ".venv" / "bin")
        done.append(Done(line, _type(command, tmp_path, environ)))

    done += follow(page, tmp_path, with_path(user_environ, tmp_path / ".venv" / "bin"))

    tell(f"{python}\n{_table(done)}")
    assert sum(each.seconds for each in done) < WITHIN_S


def _shell_lines(page: str) -> list[str]:
    [block] = re.findall(r"^```sh\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    return [line.partition("  #")[0].strip() for line in block.splitlines()]


def _runs(python: str) -> bool:
    found = shutil.which(python)
    return found is not None and not subprocess.call(
        [found, "-c", "import venv, ensurepip"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _type(command: str, folder: Path, environ: dict[str, str]) -> float:
    began = time.monotonic()
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return time.monotonic() - began


def _table(done: list[Done]) -> str:
    rows = [f"{each.seconds:7.2f} s  {each.words}" for each in done]
    return "\n".join([*rows, f"{sum(each.seconds for each in done):7.2f} s  in all"])
