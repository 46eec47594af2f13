"""Tests' projects don't see each other's modules."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from tests.support.module_path import module_path_as_before


@pytest.mark.parametrize("package", ["", "__init__.py"], ids=["namespace", "package"])
def test_two_projects_with_files_of_one_name(tmp_path: Path, package: str) -> None:
    """Each imports its own file, and neither is left afterwards."""
    path = list(sys.path)
    for project in ("one", "two"):
        folder = tmp_path / project / "modules" / "tasks"
        folder.mkdir(parents=True)
        (folder / "mail.py").write_text(f"name = {project!r}\n")
        if package:
            (folder / package).touch()
        with module_path_as_before(tmp_path):
            sys.path.append(str(folder.parents[1]))
            assert importlib.import_module("modules.tasks.mail").name == project

    assert "modules" not in sys.modules
    assert "modules.tasks.mail" not in sys.modules
    assert sys.path == path


def test_what_is_installed_stays(tmp_path: Path) -> None:
    """A module of the installation that a test is the first to import is not imported twice."""
    sys.modules.pop("colorsys", None)
    with module_path_as_before(tmp_path):
        importlib.import_module("colorsys")

    assert "colorsys" in sys.modules
