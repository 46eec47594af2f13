"""Runs the examples of a document: files are written, and commands give what stands below them.

- A `python` block whose first line is `# path/of/file.py` is written to that file.
- A `console` block is run, command by command (`$ …`); what follows is what is printed (to standard
  output), where `…` stands for anything, also for whole lines.
- Blocks of other kinds (`sh`, …) are not run.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
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


def follow(document: str, folder: Path, environ: Mapping[str, str], timeout: float = 25) -> int:
    """Do all steps of a document in a folder; how many commands there were.

    Raises:
        AssertionError: a command prints something else than the document says.
    """
    commands = 0
    for step in steps(document):
        if step.file is not None:
            path = folder / step.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(step.text)
        else:
            commands += 1
            _check(step, folder, environ, timeout)
    return commands


def _check(step: Step, folder: Path, environ: Mapping[str, str], timeout: float) -> None:
    done = subprocess.run(
        ["bash", "-c", step.text],
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    printed = "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())
    pattern = re.escape(step.expected).replace("…", ".*")
    if step.expected and not re.fullmatch(pattern, printed, re.DOTALL):
        raise AssertionError(
            f"line {step.line}: `{step.text}` printed\n{printed}\n{done.stderr}\n-- and not\n{step.expected}"
        )
