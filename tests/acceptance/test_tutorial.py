"""The tutorial, done by somebody who has nothing; from the built wheel: test_first_steps.py."""

from __future__ import annotations

from pathlib import Path

from tests.support.documents import follow
from tests.support.source import ROOT

TUTORIAL = ROOT / "docs" / "tutorial" / "first-project.md"


def test_the_tutorial(tmp_path: Path, user_here: dict[str, str]) -> None:
    """Project, task, test, start, enqueue, failed list, retry: each command prints what it says."""
    assert len(follow(TUTORIAL.read_text(), tmp_path, user_here)) >= 14
