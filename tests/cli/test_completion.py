"""`resqpy completion`, and what shells complete with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Call


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with two tasks."""
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/a.py").write_text(
        "from resqpy import task\n"
        "@task('sendWelcome')\ndef welcome(to: str): 'W.'\n"
        "@task\ndef send_reminder(): 'R.'\n"
    )
    return tmp_path


@pytest.mark.parametrize(
    ("words", "expected"),
    [("resqpy wo", "worker"), ("resqpy failed re", "retry"), ("resqpy worker --que", "--queues")],
)
def test_shells_complete_commands_and_options(words: str, expected: str) -> None:
    """Bash asks the program itself."""
    assert expected in completed(words)


@pytest.mark.parametrize(
    "words",
    ["task enqueue send", "task run send", "task explain send", "task show send", "task run -n send",
     "schedule pause send"],
)  # fmt: skip
def test_shells_complete_the_names_of_tasks(project: Path, words: str) -> None:
    """As they stand in the project, whatever its files print."""
    (project / "tasks/loud.py").write_text("print('plain,loud')\n")

    assert completed(f"resqpy {words}", project) == ["sendWelcome", "send_reminder"]


@pytest.mark.parametrize("words", ["task enqueue sendWelcome ", "task show nothing"])
def test_shells_complete_nothing_where_nothing_fits(project: Path, words: str) -> None:
    """Inputs behind a name, and names that aren't there; a broken project is no reason for a traceback."""
    (project / "tasks/broken.py").write_text("1 / 0\n")

    assert completed(f"resqpy {words}", project) == []


def completed(words: str, folder: Path | None = None) -> list[str]:
    """What bash is told."""
    done = subprocess.run(
        [sys.executable, "-c", "from resqpy.cli.main import main; main()"],
        env={**os.environ, "_RESQPY_COMPLETE": "bash_complete", "COMP_WORDS": words,
             "COMP_CWORD": str(words.count(" "))},
        capture_output=True, text=True, check=False, cwd=folder,
    )  # fmt: skip

    assert done.stderr == ""
    return [line.removeprefix("plain,") for line in done.stdout.split()]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(resqpy: Call, shell: str) -> None:
    """For the shells that people have."""
    assert "_RESQPY_COMPLETE" in resqpy("completion", shell).out
