"""The tour of all commands, docs/reference/cli-tour.md: `python -m tests.cli.tour` writes it anew.

The commands run in the sample project, on a Redis on which real Node programs work, beside what Ruby's
programs left there. Those that last or start processes run as programs, the others in this process.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from resqpy.cli.main import run
from resqpy.embedded import PrivateServer
from tests.cli import foreign_redis
from tests.cli.tour_steps import HEAD, STEPS
from tests.support.source import ROOT

DOC = ROOT / "docs" / "reference" / "cli-tour.md"
PROGRAMS = {"start", "worker", "scheduler", "console", "new", "generate"}
MOST_LINES = 70

_FOREIGN = ("RESQPY", "RESQUE", "REDIS", "PYTEST", "COV_", "QUEUE", "COLUMNS", "LOG")

_VOLATILE = (
    (r"/resqpy-\w+/redis\.sock", "/resqpy-…/redis.sock"),
    (r"resqpy-undo-\d+T\d+-\d+", "resqpy-undo-20300101T120000-1"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?: UTC|\+00:00|Z)?", "…"),
    (r"(?:in |for )?\d+ (?:ms|s|m|h|d)(?: \d+ (?:ms|s|m|h|d))?(?: ago)?", "…"),
    (r"ttl_ms\W+\d+|\d\d:\d\d:\d\d\.\d\d\d|\d+ seconds|\b1[78]\d{8,11}\b|\d+/s", "…"),
    (r"[\w./-]*:\d+:\d+\)", "…"),  # places in Node's sources
    (r"\b\d+\.\d+\.\d+[\w.]*", "…"),  # versions
    (r"─+|█+|[ \t]+", " "),
)


def normal(text: str) -> str:
    """A tour without what differs from time to time: ages, dates, versions, the widths of columns."""
    for pattern, instead in _VOLATILE:
        text = re.sub(pattern, instead, text)
    return re.sub(r'(?<="payload":)\{[^{}]*\}', _sorted, text)


def _sorted(found: re.Match[str]) -> str:
    """The keys of a job in Node's record stand as the server's Lua happens to write them."""
    return json.dumps(json.loads(found[0]), sort_keys=True)


def tour(folder: Path) -> str:
    """Take the tour in a copy of the sample project; the document."""
    with PrivateServer() as server:
        return asyncio.run(_tour(folder, server.url))


async def _tour(folder: Path, url: str) -> str:
    async with foreign_redis.at_work(url) as node:
        guide = _Guide(folder, url)
        parts = [HEAD]
        for step in STEPS:
            if isinstance(step, str):
                parts.append(f"\n## {step}\n")
            else:
                for command in step:
                    shown = await asyncio.to_thread(guide.shown, command)
                    parts.append(foreign_redis.steady(shown, node))
        return guide.with_steady_ids("\n".join(parts))


class _Guide:
    """Runs commands in a folder, and shows what they say."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder = folder
        self._url = url
        self._ids: dict[str, str] = {}

    def shown(self, command: str) -> str:
        """A command as a person types it, with what it says and its exit code."""
        typed = command
        if "{id}" in command:
            [latest] = json.loads(self._said("failed --limit 1 --json")[1])
            typed = command.replace("{id}", latest["id"][:10])
        if "{worker}" in command:
            typed = command.replace("{worker}", self._busy_worker())
        code, said = self._said(typed)
        lines = said.rstrip().splitlines()
        if len(lines) > MOST_LINES:
            lines = [*lines[:MOST_LINES], "…"]
        tail = [f"(exit code {code})"] if code else []
        return "\n".join(["```console", f"$ resqpy {typed}", *lines, *tail, "```\n"])

    def _busy_worker(self) -> str:
        found = json.loads(self._said("workers --working --json")[1])
        return next(f"{each['host']}:{each['pid']}" for each in found if each["language"] == "node")

    def _said(self, command: str) -> tuple[int, str]:
        words = shlex.split(command)
        with _environment(self._folder, {"REDIS_URL": self._url, "TZ": "UTC"}):
            code, said = _by_program(words) if words[0] in PROGRAMS else _here(words)
        self._note_ids(said)
        return code, said.replace(str(self._folder), "/app").replace(str(ROOT), "/app")

    def _note_ids(self, said: str) -> None:
        for found in re.findall(r"\b[0-9a-f]{40}\b|^[0-9a-f]{10}(?=  )", said, re.MULTILINE):
            short = found[:10]
            made = hashlib.sha1(str(len(self._ids)).encode()).hexdigest()
            self._ids.setdefault(short, made)

    def with_steady_ids(self, text: str) -> str:
        """The text with the same ids every time: those of failed jobs hang on times and places."""
        for short, made in self._ids.items():
            text = re.sub(rf"\b{short}[0-9a-f]{{30}}\b", made, text).replace(short, made[:10])
        return text


def _here(words: list[str]) -> tuple[int, str]:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = run(words)
    return int(code), said.getvalue()


def _by_program(words: list[str]) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "resqpy.cli", *words],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout


@contextlib.contextmanager
def _environment(folder: Path, own: dict[str, str]) -> Iterator[None]:
    before, here = dict(os.environ), Path.cwd()
    for name in [name for name in os.environ if name.startswith(_FOREIGN)]:
        del os.environ[name]
    os.environ.update(own, PYTHONPATH=str(ROOT))
    time.tzset()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(here)
        os.environ.clear()
        os.environ.update(before)
        time.tzset()


def sample(folder: Path) -> Path:
    """A copy of the sample project."""
    for name in ("tasks", "config"):
        shutil.copytree(ROOT / name, folder / name)
    return folder


__all__ = ["DOC", "normal", "sample", "tour"]

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        made = tour(sample(Path(place).resolve()))
    (Path(sys.argv[1]) if sys.argv[1:] else DOC).write_text(made)
