"""What is wrong with a project's own files, as the commands tell it."""

from __future__ import annotations

from pathlib import Path

import pytest

from resqpy.cli.output.printing import Exit
from tests.cli.conftest import Call

COVERED = "def logged(f):\n    return lambda: f()\n\nfrom resqpy import task\n@logged\n@task\ndef a(): 'A.'\n"


@pytest.mark.parametrize(
    ("text", "line", "grave"),
    [
        (COVERED, 7, True),
        ("from resqpy import task\n@task(frequency=60)\ndef a(): 'A.'\n", 2, False),
    ],
)
def test_doctor_tells_of_the_projects_files(
    resqpy: Call, root: Path, text: str, line: int, grave: bool
) -> None:
    """It fails for what keeps the project from being loaded, not for what is hardly meant."""
    (root / "tasks/other.py").write_text(text)

    done = resqpy("doctor", "--json")
    [found] = [each for each in done.json if each["name"] == "project"]

    assert found["problem"].startswith(f"tasks/other.py:{line}: ")
    assert found["grave"] is grave
    assert (done.code == Exit.NO) is grave


def test_the_list_of_tasks_tells_it_too(resqpy: Call, root: Path) -> None:
    """On the error stream, so that what reads the list is not disturbed."""
    (root / "tasks/other.py").write_text(
        "from resqpy import task\n@task(frequency=60)\ndef a(): 'A.'\n"
    )

    done = resqpy("task", "list", "--json")

    assert "a" in [each["name"] for each in done.json]
    assert "tasks/other.py:2: task a: frequency is 60 milliseconds" in done.err
