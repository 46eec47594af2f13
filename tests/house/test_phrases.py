"""Phrases that readers stumbled over, and what to say instead: none of them comes back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# A regular expression, and plain words in its place. They are looked for in the code, its scripts, and the pages.
PHRASES: dict[str, str] = {
    r"\banew\b": "again; restart, reconnect",
    r"\bmend(s|ed|ing)? (the|what)\b": "fix, repair",
    r"what (waiting )?can't mend": "what waiting can't solve",
    r"sign(s)? of life": "heartbeat",
    r"\bof our making\b": "written by us",
    r"\bnobody knows\b": "unknown",
    r"it is (meant|no matter)\b": "it should be; it doesn't matter",
    r"is to be (text|an object|a list|a number)": "must be …",
    r"given up (on|when)": "abandoned",
    r"\bis borne\b|\bbears? it\b": "is tolerated; idempotent",
    r"\btried again\b": "retried",
    r"\bshall lead\b": "giving up leadership",
    r"of (little|no) account": "is ignored",
    r"so many (a second|seconds|times) (at the most|and)": "at most N per second",
    r"At the most so many": "At most this many",
    r"Nobody can be asked": "There is no terminal to ask on",
    r"\bPut right\b": "Fix",
    r"for ever\b": "forever; unlimited",
    r"\bdies of it\b": "crashes",
    r"\bin the very step\b": "in the same step",
    r"\bunder way already\b": "already running",
    r"\bwhatever they are at\b": "in any state",
    r"\bis told (of|so|once)\b": "is reported, logged",
    r"\bsay --": "use --",
}
# Pages made from the code, and pages that quote others.
GENERATED = {
    "cli-tour.md",
    "tracked-suites.md",
    "benchmarks.md",
    "promises.md",
    "features.md",
    "config.md",
}


def _texts() -> list[Path]:
    code = [each for kind in ("*.py", "*.lua") for each in (ROOT / "resqpy").rglob(kind)]
    pages = [each for each in (ROOT / "docs").rglob("*.md") if each.name not in GENERATED]
    return [*code, *pages, ROOT / "README.md"]


@pytest.mark.parametrize("phrase", PHRASES)
def test_a_phrase_does_not_come_back(phrase: str) -> None:
    """See docs/reference/words.md for the terms."""
    found = []
    for path in _texts():
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if re.search(phrase, line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert found == [], f"say: {PHRASES[phrase]}"
