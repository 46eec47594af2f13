"""Whether the programs of other languages are here, what must be here, and what was tried with them.

A test whose program is missing skips, and fails where the program is required: RESQPY_REQUIRE names
languages (`RESQPY_REQUIRE=ruby,php`), and CI requires Node, whose packages npm gives, and Rails' ActiveJob,
which Debian has.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

LANGUAGES = ("node", "rails", "ruby", "php")
_NAMES = {"node": "Node", "rails": "Rails", "ruby": "Ruby", "php": "PHP"}
_IN_CI = {"node", "rails"}


def required(environ: Mapping[str, str] = os.environ) -> set[str]:
    """The languages whose programs must be here.

    Raises:
        ValueError: RESQPY_REQUIRE names something else.
    """
    words = environ.get("RESQPY_REQUIRE", "").lower().replace(" ", "")
    named = set(words.split(",")) - {""}
    if wrong := named - set(LANGUAGES):
        raise ValueError(f"RESQPY_REQUIRE: {sorted(wrong)}; it takes {', '.join(LANGUAGES)}")
    in_ci = environ.get("CI", "").lower() not in ("", "0", "false")
    return named | (_IN_CI if in_ci else set())


def require(language: str, reason: str | None) -> None:
    """Skip a test whose program is missing, or fail it."""
    if reason:
        end = pytest.fail if language in required() else pytest.skip
        end(f"{_NAMES[language]}: {reason}")


def summary(passed: Iterable[Any], skipped: Iterable[Any]) -> list[str]:
    """What was tried live, what with recordings and what was skipped: a line for each language.

    Args:
        passed, skipped: pytest's reports.
    """
    ids = [(each.nodeid, each.keywords) for each in passed]
    missing = [(each.keywords, each.longrepr) for each in skipped]
    lines = []
    for language in LANGUAGES:
        live = sum(language in keywords for _, keywords in ids)
        replayed = sum(_replays(nodeid, language) for nodeid, _ in ids)
        reasons = [why for keywords, why in missing if language in keywords]
        if not (live or replayed or reasons):
            continue
        parts = [f"live: {live} passed" if live else "live: none"]
        if reasons:
            parts.append(f"{len(reasons)} skipped ({_reason(reasons[0])})")
        parts.append(f"recorded: {replayed} passed")
        lines.append(f"{_NAMES[language]}: {', '.join(parts)}")
    return lines


def _replays(nodeid: str, language: str) -> bool:
    """Whether a test replays what a program of the language left: its parameter is a recording."""
    return nodeid.partition("[")[2].startswith(f"{language}-")


def _reason(why: Any) -> str:
    words = why[2] if isinstance(why, tuple) else str(why)
    return words.removeprefix("Skipped: ").partition(": ")[2] or words
