"""What the README says is true: its programs run, its commands print that, its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.documents import follow
from tests.support.source import ROOT

README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.timeout(120)
def test_the_examples_run(tmp_path: Path, user_here: dict[str, str]) -> None:
    """In an empty folder, in their order, by a person who sets up nothing."""
    assert len(follow(README.read_text(), tmp_path, user_here)) >= 20


def test_the_program_has_fifteen_lines() -> None:
    """Its two files, without blank lines and the comments that name them."""
    section = README.read_text().partition("## A program in fifteen lines")[2].partition("\n## ")[0]
    files = re.findall(r"^```python\n# .*?\n(.*?)^```", section, re.DOTALL | re.MULTILINE)

    lines = [line for file in files for line in file.splitlines() if line]
    assert len(files) == 2
    assert len(lines) <= 15


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """To files of this repository, and to headings that are there."""
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, heading = target.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        file = (page.parent / path) if path else page
        if not file.exists() or (heading and heading not in _headings(file)):
            broken.append(target)

    assert broken == []


def _headings(page: Path) -> set[str]:
    lines = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", line.lower()).strip().replace(" ", "-") for line in lines}
