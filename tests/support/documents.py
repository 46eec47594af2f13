"""Runs the examples of a document: files are written, and commands give what stands below them.

- A `python` block whose first line is `# path/of/file.py` is written to that file.
- A `console` block is run, command by command (`$ …`); what follows is what is printed (to standard
  output, else to standard error), where `…` stands for anything, also for whole
  lines, and columns may be wider.
- `cd` changes the folder of what follows; a command that ends with `&` goes on to the document's end; and
  one that only looks (`resqpy failed`, `grep`) is asked again for a while, since workers need their time.
- Blocks of other kinds (`sh`, …) are not run.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_LOOKING = ("resqpy failed list", "resqpy task explain", "grep ")  # and `resqpy failed` alone
_PATIENCE_S = 15
_FILE = re.compile(r"# ([\w./-]+\.\w+)\n")


@dataclass(frozen=True)
class Step:
    """What a reader does: writes a file, or types a command.

    Attributes:
        expected: what a command prints.
    """

    line: int
    file: str | None
    text: str
    expected: str = ""


def steps(document: str) -> Iterator[Step]:
    """The steps of a document, in their order."""
    for block in _BLOCK.finditer(document):
        line = document.count("\n", 0, block.start()) + 1
        kind, text = block.groups()
        if kind == "console":
            yield from _commands(text, line)
        elif kind in {"python", "yaml", "toml"} and (named := _FILE.match(text)):
            yield Step(line, named[1], text)


def _commands(text: str, line: int) -> Iterator[Step]:
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        yield Step(line, None, command, expected.strip())


def follow(document: str, folder: Path, environ: Mapping[str, str]) -> int:
    """Do all steps of a document in a folder; how many commands there were.

    Raises:
        AssertionError: a command prints something else than the document says.
    """
    with _Reader(folder, environ) as reader:
        for step in steps(document):
            reader.do(step)
        return reader.commands


class _Reader:
    """Somebody who does what a document says.

    Attributes:
        commands: how many were typed.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.commands = 0
        self._folder = folder
        self._environ = environ
        self._background: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._background:
            each.terminate()
        for each in self._background:
            each.wait(timeout=20)

    def do(self, step: Step) -> None:
        """One step."""
        if step.file is not None:
            path = self._folder / step.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(step.text)
            return
        self.commands += 1
        if step.text.startswith("cd "):
            self._folder /= step.text.removeprefix("cd ")
        elif step.text.endswith("&"):
            self._start(step.text.removesuffix("&"))
        else:
            self._check(step)

    def _start(self, command: str) -> None:
        self._background.append(
            subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self._folder,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )

    def _check(self, step: Step) -> None:
        deadline = time.monotonic() + (_PATIENCE_S if _only_looks(step.text) else 0)
        while True:
            try:
                _check(step, self._folder, self._environ)
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
            else:
                return


def _only_looks(command: str) -> bool:
    return command == "resqpy failed" or command.startswith(_LOOKING)


def _check(step: Step, folder: Path, environ: Mapping[str, str]) -> None:
    done = subprocess.run(
        ["bash", "-c", step.text],
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S * 4,
        check=False,
    )
    output = done.stdout or done.stderr
    printed = "\n".join(line.rstrip() for line in output.strip().splitlines())
    pattern = re.sub(r"(?:\\ )+", " +", re.escape(step.expected)).replace("…", ".*")
    if step.expected and not re.fullmatch(pattern, printed, re.DOTALL):
        raise AssertionError(
            f"line {step.line}: `{step.text}` printed\n{printed}\n{done.stderr}\n-- and not\n{step.expected}"
        )
