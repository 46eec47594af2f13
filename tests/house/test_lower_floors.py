"""Tracked tasks stand on a floor of their own: nothing below names them."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.source import PACKAGE, docstring, name, python_files, tree, without_comments

BELOW = ("base", "embedded", "store", "schedules", "engine", "plugins")


@pytest.mark.parametrize("floor", BELOW)
def test_it_names_no_tracked_task(floor: str) -> None:
    """No import, no name and no text in code, of Python and Lua; docstrings may tell of them."""
    python = {name(path): _words(path) for path in python_files(f"resqpy/{floor}")}
    lua = {name(path): [without_comments(path)] for path in (PACKAGE / floor).rglob("*.lua")}
    named = {
        where: [word for word in words if "tracked" in word.lower()]
        for where, words in {**python, **lua}.items()
    }

    assert {where: words for where, words in named.items() if words} == {}


def _words(path: Path) -> Iterator[str]:
    """Its names and texts."""
    docs = {each.lineno for node in _nodes(path) if (each := docstring(node)) is not None}
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        is_doc = token.type == tokenize.STRING and token.start[0] in docs
        if token.type in (tokenize.NAME, tokenize.STRING) and not is_doc:
            yield token.string


def _nodes(path: Path) -> Iterator[ast.AST]:
    return ast.walk(tree(path))
