"""Pyright's own word, where its package is installed (`bin/setup`); `bin/check` runs it over all files here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from resqpy.cli.main import run

ROOT = Path(__file__).parents[2]
PYRIGHT = ROOT / "tests" / "interop" / "node" / "node_modules" / ".bin" / "pyright"
WRONG = """
from resqpy import task

@task()
async def send_mail(to: str) -> None:
    "Send a mail."

async def wrong() -> None:
    await send_mail.enqueue(too="ada@example.com")
"""

pytestmark = pytest.mark.skipif(not PYRIGHT.exists(), reason="pyright is not installed: bin/setup")


def told(folder: Path) -> list[str]:
    """What pyright has to say of a folder in its strict mode, with resqpy installed: its rules."""
    settings = {
        "typeCheckingMode": "strict",
        "include": ["."],
        "extraPaths": [str(ROOT)],
        "pythonVersion": "3.11",
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    done = subprocess.run(
        [str(PYRIGHT), "--pythonpath", sys.executable, "--outputjson"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] > 0
    return [each["rule"] for each in report["generalDiagnostics"]]


def test_a_new_project_is_right(tmp_path: Path) -> None:
    """All that `resqpy new` writes, in the strict mode."""
    assert run(["new", str(tmp_path / "demo")]) == 0

    assert told(tmp_path / "demo") == []


def test_a_wrong_enqueue_is_refused(tmp_path: Path) -> None:
    """It is no silence: the wrong name of an input is found."""
    (tmp_path / "wrong.py").write_text(WRONG)

    assert set(told(tmp_path)) == {"reportCallIssue"}
