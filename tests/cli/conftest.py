"""The command line, called in this process (quick) or as a program (workers)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from redis import Redis

from resqpy.cli.main import run

TASKS = '''
    from resqpy import Input, Task, task

    class SendMail(Task):
        """Send a mail."""

        inputs = {"to": Input(validator=lambda value: "@" in value)}

        async def run(self, to: str, subject: str = "hello") -> str:
            print(f"mail to {to}", flush=True)
            return f"sent to {to}"

    @task(queue="slow", retry=2)
    def fails(reason: str) -> None:
        """Fail, for a reason."""
        raise ValueError(reason)
'''


@dataclass
class Said:
    """What a command said.

    Attributes:
        code: its exit code.
    """

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, read."""
        return json.loads(self.out)

    @property
    def json_of_last_line(self) -> Any:
        """The same where a task printed before."""
        return json.loads(self.out.splitlines()[-1])


Call = Callable[..., Said]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with two tasks."""
    folder = tmp_path / "demo"
    (folder / "tasks").mkdir(parents=True)
    (folder / "tasks" / "mail.py").write_text(dedent(TASKS))
    return folder


@pytest.fixture
def environ(root: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a shell in the project's folder, whose REDIS_URL is the test's Redis."""
    foreign = ("RESQPY", "RESQUE", "REDIS", "COV_", "QUEUE", "NO_COLOR")
    for name in [name for name in os.environ if name.startswith(foreign)]:
        monkeypatch.delenv(name)
    for name, value in {"RESQPY_ROOT": str(root), "REDIS_URL": redis_url, "TZ": "UTC"}.items():
        monkeypatch.setenv(name, value)
    time.tzset()
    return dict(os.environ)


@pytest.fixture
def client(redis_url: str) -> Redis:
    """A client that needs no event loop."""
    return Redis.from_url(redis_url)


@pytest.fixture
def resqpy(environ: dict[str, str], capfd: pytest.CaptureFixture[str]) -> Call:
    """Call a command in this process, in the project's folder."""

    def call(*arguments: str) -> Said:
        capfd.readouterr()
        code = run(list(arguments))
        sys.stdout.flush()
        out, err = capfd.readouterr()
        return Said(code, out, err)

    return call


Program = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def program(environ: dict[str, str], root: Path) -> Iterator[Program]:
    """Start a command as a program; it ends with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, cwd: Path = root, **more: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "resqpy.cli", *arguments],
            env={**environ, "RESQPY_ENV": "development", **more},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
