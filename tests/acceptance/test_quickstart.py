"""bin/quickstart, as a person runs it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.waiting import PATIENCE_S

SAMPLES = ("sendWelcomeEmail", "count_words", "send_reminder", "fetch_weather", "sayHello")


def started(clone: Path, environ: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    """The Python part, on this interpreter: the shell part is only the installation."""
    return subprocess.Popen(
        [sys.executable, clone / "bin/_quickstart.py", *arguments],
        cwd=clone,
        env={**environ, "PYTHONPATH": str(clone)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_it_shows_all_samples_and_ends(clone: Path, user_environ: dict[str, str]) -> None:
    """It ends by itself with 0 once every sample was seen to run; a REDIS_URL is left alone."""
    environ = {**user_environ, "REDIS_URL": "redis://127.0.0.1:1/"}

    process = started(clone, environ)
    output, _ = process.communicate(timeout=50)

    assert process.returncode == 0, output
    assert [name for name in SAMPLES if f"✓ {name}" not in output] == []
    assert "↻ fetch_weather" in output
    assert "Traceback" not in output


def test_it_says_which_sample_did_not_run(clone: Path, user_environ: dict[str, str]) -> None:
    """A sample that ends otherwise than it should is named, and the exit code is not 0."""
    script = clone / "bin/_quickstart.py"
    script.write_text(script.read_text().replace("WITHIN_S = 30.0", "WITHIN_S = 1.0"))

    process = started(clone, user_environ)
    output, _ = process.communicate(timeout=50)

    assert process.returncode == 1
    assert "quickstart: fetch_weather, send_reminder did not run: not within 1 s" in output


def test_stay_keeps_it_up_until_it_is_told_to_stop(
    clone: Path, user_environ: dict[str, str]
) -> None:
    """With --stay it goes on, refuses a second one in the same folder, and Ctrl-C ends it in order."""
    process = started(clone, user_environ, "--stay")
    try:
        told = _read_until(process, "resqpy failed")
        second = started(clone, user_environ)
        refusal, _ = second.communicate(timeout=50)
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=50)
    finally:
        process.kill()

    assert "task enqueue sendWelcomeEmail" in told
    assert second.returncode == 1
    assert f"the process {process.pid} works the queues of this folder already" in refusal
    assert process.returncode == 0
    assert "Stopping" in rest


def _read_until(process: subprocess.Popen[str], words: str) -> str:
    assert process.stdout is not None
    told, deadline = "", time.monotonic() + PATIENCE_S
    for line in process.stdout:
        told += line
        if words in line or time.monotonic() > deadline:
            break
    assert words in told
    return told


@pytest.mark.full
@pytest.mark.parametrize("server", ["on the PATH", "in the wheel"])
def test_from_a_fresh_clone(
    clone: Path, user_environ: dict[str, str], tmp_path: Path, server: str
) -> None:
    """One command is all: it makes the environment, with or without a redis-server on the PATH."""
    environ = user_environ
    if server == "in the wheel":
        environ = {**user_environ, "PATH": _path_without_redis(tmp_path), "PYTHON": sys.executable}

    first, second = [
        subprocess.run(
            ["bin/quickstart"], cwd=clone, env=environ, capture_output=True, text=True, check=False
        )
        for _ in range(2)
    ]

    assert first.returncode == second.returncode == 0, first.stdout + first.stderr
    assert "All samples ran." in first.stdout
    assert "All samples ran." in second.stdout
    assert "installing" not in second.stderr  # the second time there is nothing to do
    assert (clone / ".venv/bin/resqpy").exists()


def _path_without_redis(tmp_path: Path) -> str:
    """A PATH with the usual commands and no Redis server."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "dirname", "cat", "cksum", "rm", "awk", "flock", "basename", "env"):
        if (found := shutil.which(name)) is not None:
            (folder / name).symlink_to(found)
    return os.fspath(folder)
