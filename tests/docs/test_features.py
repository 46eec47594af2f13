"""The page about features names its code and its proofs, other pages name tests: they exist."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import DOCS, ROOT

PAGE = (DOCS / "reference" / "features.md").read_text()
ROWS = [
    line.split("|")[1:-1]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith("| feature")
]
TEXTS = [page.read_text() for page in DOCS.rglob("*.md")]
PROOFS = sorted(
    {each for text in TEXTS for each in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text)}
)
PLACES = sorted({place for row in ROWS for place in re.findall(r"`([^`]+)`", row[1])})


def test_every_row_names_its_code_and_its_proof() -> None:
    """In the second and the third column."""
    assert [row[0] for row in ROWS if "`" not in row[1] or "`tests/" not in row[2]] == []
    assert len(ROWS) > 60


@pytest.mark.parametrize(("path", "name"), PROOFS)
def test_the_named_tests_exist(path: str, name: str) -> None:
    """A test that is named on a page is in its file."""
    text = (ROOT / path).read_text()

    assert not name or re.search(rf"def {name}\(", text)


@pytest.mark.parametrize("place", PLACES)
def test_the_named_code_exists(place: str) -> None:
    """A file or a folder."""
    assert (ROOT / place).exists()
