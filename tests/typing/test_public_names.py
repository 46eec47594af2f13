"""No public name is left out of what the type checkers read."""

from __future__ import annotations

import ast
from pathlib import Path
from types import ModuleType

import pytest

import resqpy
import resqpy.testing

TREE = ast.parse(Path(__file__).with_name("use_names.py").read_text())


@pytest.mark.parametrize("module", [resqpy, resqpy.testing], ids=lambda module: module.__name__)
def test_each_public_name_is_used(module: ModuleType) -> None:
    """In `use_names.py`, under mypy's and pyright's strictest settings, as a user would."""
    imported = {
        alias.name
        for each in ast.walk(TREE)
        if isinstance(each, ast.ImportFrom) and each.module == module.__name__
        for alias in each.names
    }
    used = {each.id for each in ast.walk(TREE) if isinstance(each, ast.Name)}

    assert imported == set(module.__all__)
    assert imported - used == set()


@pytest.mark.parametrize("module", [resqpy, resqpy.testing], ids=lambda module: module.__name__)
def test_each_public_name_leads_somewhere(module: ModuleType) -> None:
    """What is imported when it is first used is what the type checkers are told."""
    for name in module.__all__:
        thing = getattr(module, name)
        known = getattr(thing, "__name__", name) if isinstance(thing, type) else name
        assert known.startswith(name), name


@pytest.mark.parametrize("module", [resqpy, resqpy.testing], ids=lambda module: module.__name__)
def test_an_unknown_name_is_refused(module: ModuleType) -> None:
    """With the nearest one."""
    name = module.__all__[0]
    with pytest.raises(AttributeError, match=f"has no attribute '{name}s'; did you mean '{name}'"):
        getattr(module, f"{name}s")
    assert dir(module) == sorted(module.__all__)
