"""The table of mutants is up to date; with --all, each is killed by its test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.mutation.breaking import ROOT, Stale, broken, copied, lines_of, try_mutant
from tests.mutation.table import MUTANTS, Mutant

RIGHT = Mutant(
    "seconds of a duration",
    "resqpy/base/when.py",
    "return duration_ms(value, what) / 1000",
    "return duration_ms(value, what) / 999",
    "tests/unit/test_when.py",
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.feature)
def test_each_row_is_up_to_date(mutant: Mutant) -> None:
    """Its line stands once in its file, what breaks it is Python (or Lua), and its test exists."""
    assert lines_of(mutant) == 1
    path, _, name = mutant.test.partition("::")
    assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE)
    if mutant.path.endswith(".py"):
        text = (ROOT / mutant.path).read_text()
        compile(text.replace(mutant.line, mutant.broken), mutant.path, "exec")


def test_no_row_twice() -> None:
    """At least 25 features, each broken in its own way."""
    assert len({each.feature for each in MUTANTS}) == len(MUTANTS) >= 25
    assert len({(each.path, each.line, each.broken) for each in MUTANTS}) == len(MUTANTS)


def test_a_line_that_is_gone_is_told(tmp_path: Path) -> None:
    """And so is one that stands there twice."""
    (tmp_path / "a.py").write_text("one\ntwo\ntwo\n")
    for line in ("three", "two"):
        mutant = Mutant("f", "a.py", line, "four", "")
        with pytest.raises(Stale, match=line), broken(mutant, tmp_path):
            pass
    with broken(Mutant("f", "a.py", "one", "four", ""), tmp_path):
        assert (tmp_path / "a.py").read_text() == "four\ntwo\ntwo\n"
    assert (tmp_path / "a.py").read_text() == "one\ntwo\ntwo\n"


@pytest.mark.full
@pytest.mark.timeout(600)
def test_a_survivor_is_told(tmp_path: Path) -> None:
    """A broken line that changes nothing, a test that fails anyway, and one that is killed."""
    harmless = RIGHT._replace(broken=f"{RIGHT.line}  # the same")
    absent = RIGHT._replace(test="tests/unit/test_when.py::test_that_is_not_there")
    with copied(tmp_path) as root:
        kept, gone, dead = (try_mutant(each, root) for each in (harmless, absent, RIGHT))
    assert (kept.killed, gone.killed, dead.killed) == (False, False, True)
    assert "passes all the same" in kept.words
    assert "does not pass unbroken" in gone.words


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.feature)
def test_each_mutant_is_killed(mutant: Mutant, tmp_path: Path) -> None:
    """Its test passes, and fails when the line is broken."""
    with copied(tmp_path) as root:
        tried = try_mutant(mutant, root)
    assert tried.killed, tried.words
