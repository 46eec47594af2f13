"""Runs the examples of a document: files are written, and commands give what stands below them.

- A block whose first line is `# path/of/file.py` is written to that file.
- A `console` block is run, command by command (`$ …`); what follows is what is printed (to standard
  output, else to standard error), where `…` stands for anything, also for whole
  lines, and columns may be wider.
- A command that ends with `&` or `# leave it running` goes on to the document's end, on a terminal of its own;
  a `console` block without a command is what appears there.
- `cd` changes the folder of what follows; and a command that only looks (`resqpy failed`) is asked again for a
  while, since workers need their time.
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

from tests.support.terminal import Terminal

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_LOOKING = ("resqpy failed list", "resqpy task explain")  # and `resqpy failed` alone
_STAYS = re.compile(r"\s*(?:&|# leave it running)$")
_PATIENCE_S = 40
_POLL_S = 0.02
_FILE = re.compile(r"# ([\w./-]+\.\w+)\n")


@dataclass(frozen=True)
class Step:
    """What a reader does: writes a file, types a command, or looks what one that goes on has printed.

    Attributes:
        expected: what is printed.
    """

    line: int
    file: str | None = None
    text: str = ""
    expected: str = ""

    @property
    def words(self) -> str:
        """What the reader does, in a line."""
        if self.file is not None:
            return f"(write {self.file})"
        return self.text or f"(see {self.expected.splitlines()[0]})"


@dataclass(frozen=True)
class Done:
    """A step that was done."""

    words: str
    seconds: float


def steps(document: str) -> Iterator[Step]:
    """The steps of a document, in their order."""
    for block in _BLOCK.finditer(document):
        line = document.count("\n", 0, block.start()) + 1
        kind, text = block.groups()
        if kind == "console":
            yield from commands(text, line)
        elif named := _FILE.match(text):
            yield Step(line, file=named[1], text=text)


def commands(text: str, line: int) -> Iterator[Step]:
    """The steps of a `console` block that begins in a line."""
    seen, *parts = re.split(r"^\$ ", text, flags=re.MULTILINE)
    if seen.strip():
        yield Step(line, expected=seen.strip())
    for part in parts:
        command, _, expected = part.partition("\n")
        yield Step(line, text=command, expected=expected.strip())


def follow(document: str, folder: Path, environ: Mapping[str, str]) -> list[Done]:
    """Do all steps of a document in a folder; what was done.

    Raises:
        AssertionError: a command prints something else than the document says.
    """
    done = []
    with Reader(folder, environ) as reader:
        for step in steps(document):
            began = time.monotonic()
            reader.do(step)
            done.append(Done(step.words, time.monotonic() - began))
    return done


class Reader:
    """Somebody who does what a document says."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder = folder
        self._environ = environ
        self._terminals: list[Terminal] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._terminals:
            each.close()

    def do(self, step: Step) -> None:
        """One step."""
        if step.file is not None:
            path = self._folder / step.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(step.text)
        elif not step.text:
            self._see(step)
        elif step.text.startswith("cd "):
            self._folder /= step.text.removeprefix("cd ")
        elif _STAYS.search(step.text):
            command = _STAYS.sub("", step.text)
            self._terminals.append(Terminal(command, self._folder, self._environ))
        else:
            self._check(step)

    def _see(self, step: Step) -> None:
        pattern = _pattern(step.expected)
        deadline = time.monotonic() + _PATIENCE_S
        while not any(each.saw(pattern) for each in self._terminals):
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"line {step.line}: no {step.expected!r} in\n{self._printed()}"
                )
            time.sleep(_POLL_S)

    def _check(self, step: Step) -> None:
        deadline = time.monotonic() + (_PATIENCE_S if _only_looks(step.text) else 0)
        while True:
            try:
                _check(step, self._folder, self._environ)
            except AssertionError as error:
                if time.monotonic() > deadline:
                    raise AssertionError(f"{error}\n-- meanwhile\n{self._printed()}") from None
            else:
                return

    def _printed(self) -> str:
        return "\n".join(each.text for each in self._terminals)


def _only_looks(command: str) -> bool:
    return command == "resqpy failed" or command.startswith(_LOOKING)


def _pattern(expected: str) -> re.Pattern[str]:
    pattern = re.sub(r"(?:\\ )+", " +", re.escape(expected)).replace("…", ".*")
    lines = pattern.replace("\\\n.*\\\n", "\n(?:.*\n)?")  # a line of its own: also for no line
    return re.compile(lines, re.DOTALL)


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
    if step.expected and not _pattern(step.expected).fullmatch(printed):
        raise AssertionError(
            f"line {step.line}: `{step.text}` printed\n{printed}\n{done.stderr}\n-- and not\n{step.expected}"
        )
