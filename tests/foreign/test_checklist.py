"""The page about the wire names a test for each row of its checklist and each trap: they exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/wire.md").read_text()
REFERENCES = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)))


def rows(heading: str) -> list[str]:
    """The rows of the table under a heading, without its head."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("|")][2:]


@pytest.mark.parametrize(
    ("heading", "count"), [("The checklist of a third implementation", 14), ("The traps", 26)]
)
def test_every_row_names_its_proof(heading: str, count: int) -> None:
    """All rows are there, in their order, and none is without a test."""
    found = rows(heading)
    numbers = [int(match.group()) for row in found if (match := re.search(r"\d+", row))]
    assert numbers == list(range(1, count + 1))
    assert [row for row in found if "`tests/" not in row] == []


@pytest.mark.parametrize(("path", "name"), REFERENCES)
def test_the_named_tests_exist(path: str, name: str) -> None:
    """A test that is named on the page is in its file."""
    text = (ROOT / path).read_text()
    assert not name or re.search(rf"def {name}\(", text)
