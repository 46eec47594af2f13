"""The page of their suites: each name has a test of ours that exists, or the reason why there is none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TEXT = (HERE.parents[1] / "docs" / "reference" / "tracked-suites.md").read_text()
ROWS = [
    (theirs.strip(), ours.strip())
    for theirs, ours in re.findall(r"^\| (.+?) \| (.+?) \|$", TEXT, re.MULTILINE)
    if theirs != "theirs"
]
SECTIONS = re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("theirs", "ours"), ROWS)
def test_each_name_has_a_test(theirs: str, ours: str) -> None:
    """The tests that a row names exist."""
    if ours.startswith("none: "):
        return
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)(?:\[(.+)\])?`", ours)
    assert named, f"{theirs}: {ours!r} names no test"
    for file, function, case in named:
        text = (HERE / file).read_text()
        assert re.search(rf"^(async )?def {function}\(", text, re.MULTILINE)
        assert f'"{case}"' in text or not case


@pytest.mark.parametrize(("title", "text"), SECTIONS)
def test_no_name_is_left_out(title: str, text: str) -> None:
    """The first table of a section has as many rows as the section says that their suite has names."""
    said = re.search(r"\((\d+) names\)", text)
    assert said is not None, f"{title}: say how many names the suite has, as (14 names)"
    table = re.search(r"\|---.*\n((?:\|.*\n)+)", text)
    assert table is not None
    assert len(table[1].splitlines()) == int(said[1])
