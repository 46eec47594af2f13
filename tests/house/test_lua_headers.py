"""Each script says first what it does, with which keys and arguments, and what it returns."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path

import pytest

from tests.support.source import PACKAGE, name

SCRIPTS = sorted(PACKAGE.rglob("*.lua"))


@pytest.mark.parametrize("script", SCRIPTS, ids=name)
def test_a_script_has_its_header(script: Path) -> None:
    """Without one, nobody can call it: keys and arguments have positions, not names."""
    lines = script.read_text().splitlines()
    header = list(takewhile(lambda line: line.startswith("--"), lines))

    assert header[0].removeprefix("--").strip().endswith((".", ",")) or len(header) > 1
    for word in ("KEYS", "ARGV", "Returns"):
        assert any(line.startswith(f"-- {word} ") for line in header), f"no line `-- {word} …`"


@pytest.mark.parametrize("script", SCRIPTS, ids=name)
def test_a_script_is_called_by_somebody(script: Path) -> None:
    """A script that no Python file names, and no other script includes, is dead."""
    code = "".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    scripts = "".join(each.read_text() for each in SCRIPTS)

    assert f'"{script.stem}"' in code or f"\n-- include {script.stem}\n" in scripts


def test_each_script_has_a_name_of_its_own() -> None:
    """They are called by name, whichever floor has them."""
    assert len({script.stem for script in SCRIPTS}) == len(SCRIPTS)
