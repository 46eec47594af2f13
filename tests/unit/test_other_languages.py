"""What a missing program of another language means: a test that skips, or one that fails; and the last lines."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from _pytest.outcomes import Failed, Skipped

from tests.support.other_languages import require, required, summary


@pytest.mark.parametrize(
    ("environ", "languages"),
    [
        ({}, set()),
        ({"RESQPY_REQUIRE": ""}, set()),
        ({"RESQPY_REQUIRE": "ruby, PHP"}, {"ruby", "php"}),
        ({"CI": "true"}, {"node", "rails"}),
        ({"CI": "1", "RESQPY_REQUIRE": "ruby"}, {"node", "rails", "ruby"}),
        ({"CI": "false"}, set()),
    ],
)
def test_what_must_be_here(environ: dict[str, str], languages: set[str]) -> None:
    """By name; in CI what npm and Debian give."""
    assert required(environ) == languages


def test_a_misspelled_language_is_refused() -> None:
    """It would be skipped in silence."""
    with pytest.raises(ValueError, match=r"rubby.*node, rails, ruby, php"):
        required({"RESQPY_REQUIRE": "rubby"})


def test_a_missing_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """It skips, unless it is required."""
    monkeypatch.setenv("RESQPY_REQUIRE", "ruby")
    require("ruby", None)
    with pytest.raises(Failed, match="Ruby: there is no `ruby`"):
        require("ruby", "there is no `ruby`")
    with pytest.raises(Skipped, match="PHP: nothing"):
        require("php", "nothing")


def _report(nodeid: str, *keywords: str, why: str = "") -> Any:
    return SimpleNamespace(
        nodeid=nodeid, keywords=dict.fromkeys(keywords, 1), longrepr=("f", 1, f"Skipped: {why}")
    )


def test_the_last_lines() -> None:
    """Live, skipped with its reason, and recorded are told apart."""
    passed = [
        _report("a.py::test_a", "node"),
        _report("a.py::test_b[node-06-lock]"),
        _report("a.py::test_b[ruby-06-lock]"),
        _report("a.py::test_c[ruby]"),
    ]
    skipped = [
        _report("a.py::test_d", "ruby", why="Ruby: there is no `ruby`"),
        _report("b", why="x"),
    ]
    assert summary(passed, skipped) == [
        "Node: live: 1 passed, recorded: 1 passed",
        "Ruby: live: none, 1 skipped (there is no `ruby`), recorded: 1 passed",
    ]
    assert summary([_report("a")], []) == []
