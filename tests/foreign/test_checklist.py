"""The pages about the wire and the other languages name a test for each row: they exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/wire.md").read_text()
LANGUAGES = (ROOT / "docs/reference/languages.md").read_text()
REFERENCES = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE + LANGUAGES)))
THINGS = (
    "run a job", "list what failed, retry it, remove it", "promote a delayed job",
    "find and delete a waiting job", "find and delete a delayed job", "show workers, and what they run",
    "put right what a killed worker left", "obey locks", "fire schedules",
)  # fmt: skip


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


@pytest.mark.parametrize("language", ["Ruby", "Rails", "Node", "PHP", "Python"])
def test_each_language_has_all_things_in_both_directions(language: str) -> None:
    """What it can't do is said in as many words; Python has one direction."""
    section = re.split(rf"\n## {language}: [^\n]*\n", LANGUAGES)[1].partition("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("|")][2:]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table]

    assert tuple(row[0] for row in cells) == THINGS
    assert [row for row in cells if len(row) != 3 - (language == "Python") or not all(row)] == []
