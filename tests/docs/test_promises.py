"""The page of promises is that of the tests, and each of its cells stands on one."""

from __future__ import annotations

from difflib import unified_diff

import pytest

from tests.docs.promises import DOC, FAULTS, KINDS, SHARED, generated, marks
from tests.storm import figures

CELLS = [(fault, kind) for fault in FAULTS for kind in KINDS]


def test_the_page_is_that_of_the_tests() -> None:
    """If not: `python -m tests.docs.promises`."""
    page, marked = DOC.read_text().splitlines(), generated().splitlines()
    changes = list(unified_diff(page, marked, "the page", "the tests", n=0, lineterm=""))

    assert not changes, "\n".join(["run python -m tests.docs.promises", *changes[:20]])


def test_marks_name_faults_and_kinds_that_there_are() -> None:
    """A misspelled one would stand nowhere."""
    unknown = [mark for mark in marks() if mark.fault not in FAULTS or set(mark.kinds) - {*KINDS}]

    assert unknown == []


@pytest.mark.parametrize(("fault", "kind"), CELLS)
def test_a_cell_has_a_test_or_shares_the_mechanism_of_one(fault: str, kind: str) -> None:
    """What it shares is shown for the other kind by a test."""
    shown = {(mark.fault, each) for mark in marks() for each in mark.kinds}
    if (fault, kind) in shown:
        return

    other, how = SHARED[fault, kind]
    assert (fault, other) in shown
    assert how


def test_the_figures_are_those_of_full_storms() -> None:
    """Nothing was lost or begun twice, of many jobs of all kinds; memory did not grow."""
    great, versions, memory = map(figures.read, ("great", "two_versions", "memory"))

    assert sum(great["jobs"].values()) >= 100_000
    assert sum(versions["jobs"].values()) >= 40_000
    for storm in (great, versions):
        assert min(storm["jobs"].values()) > 0
        assert (storm["lost"], storm["at-most-once begun twice"], storm["left behind"]) == (0, 0, 0)
    assert memory["MiB per 100,000 more"] < 1
