"""The documents of the command line say what it does."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli import tour
from tests.cli.reference import DOC, in_document
from tests.support.source import ROOT


def test_the_reference_is_that_of_the_code() -> None:
    """If not: `python -m tests.cli.reference`."""
    assert in_document(DOC.read_text()) == DOC.read_text()


@pytest.mark.timeout(120)
def test_the_tour_is_what_the_commands_print(tmp_path: Path) -> None:
    """If not: `python -m tests.cli.tour`. Times and widths of columns may differ."""
    for folder in ("tasks", "config"):
        shutil.copytree(ROOT / folder, tmp_path / folder)

    assert tour.normal(tour.tour(tmp_path)) == tour.normal(tour.DOC.read_text())
