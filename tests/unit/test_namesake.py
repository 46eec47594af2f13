"""On the package index `resqpy` is another project: in one environment its files and ours would be one package."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from resqpy.base.imports import DISTRIBUTION
from tests.support.source import ROOT


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with our package, as pip would install it."""
    (tmp_path / "resqpy").symlink_to(ROOT / "resqpy")
    (tmp_path / "resqpy_jobs-0.1.0.dist-info").mkdir()
    (tmp_path / "resqpy_tools-5.2.1.dist-info").mkdir()  # of nobody who is in the way
    return tmp_path


def python(site: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run it there."""
    words = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(site)!r}); {code}"]
    return subprocess.run(words, capture_output=True, text=True, check=False, cwd=site)


@pytest.mark.parametrize(
    ("record", "version"),
    [("resqpy-5.2.1.dist-info", "5.2.1"), ("resqpy-4.0-py3.11.egg-info", "4.0")],
)
def test_the_other_one_is_refused_at_the_first_import(
    site: Path, record: str, version: str
) -> None:
    """By its version, its folder and the way out."""
    (site / record).mkdir()
    done = python(site, "import resqpy")

    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: ")
    for word in (f"resqpy {version}", str(site), f"pip uninstall resqpy {DISTRIBUTION}"):
        assert word in last


def test_the_command_line_refuses_it_too(site: Path) -> None:
    """Also where the `__init__` of the package is the other project's."""
    (site / "resqpy").unlink()
    (site / "resqpy").mkdir()
    for each in (ROOT / "resqpy").iterdir():
        (site / "resqpy" / each.name).symlink_to(each)
    (site / "resqpy" / "__init__.py").unlink()
    (site / "resqpy" / "__init__.py").write_text("__version__ = '5.2.1'\n")
    (site / "resqpy-5.2.1.dist-info").mkdir()
    done = python(site, "import resqpy.cli.main as m; m.main(['version'])")

    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert f"pip uninstall resqpy {DISTRIBUTION}" in line


def test_alone_it_is_imported(site: Path) -> None:
    """A distribution whose name only begins alike is no reason."""
    done = python(site, "import resqpy; print(resqpy.__file__)")
    assert done.stdout.strip() == str(site / "resqpy" / "__init__.py"), done.stderr


def test_its_name_is_the_one_of_the_project() -> None:
    """What pip installs, and what the code asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] == DISTRIBUTION
    assert "resqpy" in project["scripts"]  # the command keeps its name
