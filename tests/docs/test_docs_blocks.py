"""Each fenced block of the README and the docs is run or checked, or says why it isn't."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable

import pytest
import yaml  # type: ignore[import-untyped] # comes with mkdocs

from resqpy.base.cron.cron import CronSchedule
from tests.docs.command_lines import problem_of
from tests.docs.pages import DOCS, ROOT, Block, blocks

PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
ALL = [block for page in PAGES for block in blocks(page)]
RUN = {"python", "console"}  # test_docs_examples.py, tests/acceptance/, tests/cli/test_docs.py
_ACROSS = re.DOTALL | re.MULTILINE
FEW = 11  # blocks that are not run: so many are too many


def test_no_fence_is_overlooked() -> None:
    """None escapes by an unusual form."""
    for page in PAGES:
        opened = len(re.findall(r"^ *(?:```|~~~)", page.read_text(), re.MULTILINE)) / 2
        hidden = page.read_text().count("\n<!-- python\n")
        assert len(list(blocks(page))) == opened + hidden, page
        outside = re.sub(r"^ *```.*?^ *```$|<!--.*?-->", "", page.read_text(), flags=_ACROSS)
        assert re.findall(r"\n\n {4}\S.*", outside) == [], f"{page}: indented code"


@pytest.mark.parametrize("block", ALL, ids=lambda block: block.place)
def test_it_is_run_or_checked(block: Block) -> None:
    """By its kind."""
    if block.reason is None and block.kind not in RUN:
        assert block.kind in CHECKS, f"nobody checks `{block.kind}`; see tests/docs/pages.py"
        CHECKS[block.kind](block)


def test_what_is_not_run(tell: Callable[[str], None]) -> None:
    """The list is short, and each says why."""
    left_out = [f"{block.place}: {block.reason}" for block in ALL if block.reason is not None]

    tell("Not run:\n" + "\n".join(left_out))
    assert len(left_out) <= FEW


def test_the_classes_in_the_drawing_exist() -> None:
    """Who owns whom, on the page about internals."""
    [drawing] = [block for block in ALL if block.page.name == "internals.md"]
    named = set(
        re.findall(r"^[^\w\n]*([A-Z]\w+)|([A-Z][a-z]+[A-Z]\w+)", drawing.code, re.MULTILINE)
    )
    source = "\n".join(each.read_text() for each in (ROOT / "resqpy").rglob("*.py"))

    names = {first or second for first, second in named}
    assert [
        name for name in names if not re.search(rf"^class {name}\b", source, re.MULTILINE)
    ] == []
    assert len(names) > 10


def _shell(block: Block) -> None:
    """Its grammar; the commands, options, scripts and extras that it names exist."""
    _by_program("bash", block, "-n")
    for line in block.code.splitlines():
        for command in re.split(r"&&|\|\||;|\|", line.partition("  #")[0]):
            assert problem_of(command.strip()) is None, (
                f"{block.place}: {problem_of(command.strip())}"
            )


def _by_program(program: str, block: Block, *arguments: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"no {program} here")
    done = subprocess.run(
        [program, *arguments, "-"], input=block.code, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def _cron(block: Block) -> None:
    """Lines that are no drawing are cron expressions."""
    for line in block.code.splitlines():
        if not set(line) & set("│┌"):
            CronSchedule.parse(" ".join(line.split()))


def _ini(block: Block) -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign] # keeps capitals
    parser.read_string(block.code)
    assert parser.sections()


CHECKS: dict[str, Callable[[Block], object]] = {
    "sh": _shell,
    "cron": _cron,
    "js": lambda block: _by_program("node", block, "--check"),
    "ruby": lambda block: _by_program("ruby", block, "-c"),
    "json": lambda block: json.loads(block.code),
    "toml": lambda block: tomllib.loads(block.code),
    "yaml": lambda block: list(yaml.safe_load_all(block.code)),
    "ini": _ini,
}
