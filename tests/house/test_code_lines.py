"""How much code each package has: a table, in which growth is a visible decision with a reason."""

from __future__ import annotations

import ast
import io
import tokenize
from functools import cache
from pathlib import Path

import pytest

from tests.support.source import PACKAGE, docstring, tree, without_comments

# The most that a package may have: lines of Python and Lua with code in them, and Python files. A commit that
# makes one smaller takes its row down; one that makes it larger says why in its message.
MAXIMUM: dict[str, tuple[int, int]] = {
    "base": (4531, 32),
    "cli": (6263, 51),
    "contrib": (1119, 16),
    "diagnosis": (3300, 16),
    "embedded": (536, 6),
    "engine": (7345, 49),
    "framework": (9017, 56),
    "plugins": (439, 4),
    "resqpy": (161, 2),
    "schedules": (721, 4),
    "store": (7304, 32),
    "testing": (601, 6),
    "tracked": (4312, 20),
    "web": (6705, 53),
}
NOT_CODE = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER,
}  # fmt: skip


def code_lines(path: Path) -> int:
    """Lines with code in them: neither empty, nor only a comment, nor part of a docstring."""
    if path.suffix == ".lua":
        return sum(bool(line.strip()) for line in without_comments(path).splitlines())
    said = [words for node in ast.walk(tree(path)) if (words := docstring(node))]
    spent = {n for each in said for n in range(each.lineno, (each.end_lineno or 0) + 1)}
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    used = [range(t.start[0], t.end[0] + 1) for t in tokens if t.type not in NOT_CODE]
    return len({n for each in used for n in each} - spent)


pytestmark = pytest.mark.xdist_group("code lines")  # all in one process, which counts once


@cache
def sizes() -> dict[str, tuple[int, int]]:
    """Code lines and Python files of each package."""
    found: dict[str, tuple[int, int]] = {}
    for path in [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.lua")]:
        package = path.relative_to(PACKAGE).parts[0] if path.parent != PACKAGE else "resqpy"
        lines, files = found.get(package, (0, 0))
        found[package] = (lines + code_lines(path), files + (path.suffix == ".py"))
    return found


@pytest.mark.parametrize("package", sorted(MAXIMUM))
def test_no_package_grows_unseen(package: str) -> None:
    """What is not in the table grows, too."""
    assert sizes().keys() == MAXIMUM.keys()
    lines, files = sizes()[package]
    most_lines, most_files = MAXIMUM[package]
    assert (lines <= most_lines, files <= most_files) == (True, True), (
        f"{package}: {lines} lines in {files} files; the table says {most_lines} in {most_files}"
    )


def test_the_table_follows_what_shrinks() -> None:
    """A row that is far too large holds nothing."""
    loose = {each: size for each, size in sizes().items() if MAXIMUM[each][0] > size[0] * 1.05 + 20}
    assert loose == {}
