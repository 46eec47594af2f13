"""Each thing that could go wrong in many places is touched in one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

from tests.support.source import PACKAGE, docstring, name, python_files, tree, without_comments

# What → the files and folders (with a final /) that may. Modules are named as they are imported,
# functions as they are called.
ALLOWED = {
    "redis": ("store/",),
    "click": ("cli/",),
    "click.echo": (
        "cli/output/printing.py",
        "cli/interactive/top.py",
    ),  # makes foreign text fit for a terminal
    "click.style": ("cli/output/printing.py",),
    "click.secho": (),
    "croniter": ("base/cron/cron.py",),
    "starlette": ("web/", "cli/commands/web.py"),  # the command looks whether it is there
    "jinja2": ("web/", "cli/commands/web.py"),
    "uvicorn": ("web/", "cli/commands/web.py"),
    "json": (
        "base/codec.py",  # the payloads
        "base/json_rules.py",  # numbers and texts as JavaScript prints them
        "base/json_rules.py",  # what would harm a foreign reader
    ),
    "signal": (
        "framework/process/signals.py",
        "embedded/",  # signals to the server that it has started
    ),
    "importlib": (
        "base/imports.py",
        "embedded/process.py",  # looks for a wheel's folder without importing it
    ),
    "__import__": (),
    "time.time": ("base/clock.py",),
    "time.time_ns": ("base/clock.py",),
    "datetime.now": ("base/clock.py",),
    "datetime.utcnow": ("base/clock.py",),
    "datetime.today": ("base/clock.py",),
    "date.today": ("base/clock.py",),
    "asyncio.wait_for": (),  # may lose a cancellation before Python 3.12: see base/concurrency/own_tasks.py
    "structlog.configure": ("framework/logs/log.py",),
    "logging.basicConfig": ("framework/logs/log.py",),
}
KEY_NAMES = ("base/keys.py",)
_SILENCED = re.compile(r"# (?:noqa: [A-Z0-9, ]+|type: ignore\[[\w, -]+\])")


@pytest.mark.parametrize("what", ALLOWED)
def test_only_its_own_place_touches_it(what: str) -> None:
    """A module is imported, and a function called, only where the house says."""
    culprits = [name(path) for path in python_files("resqpy") if what in touched(path)]

    assert [culprit for culprit in culprits if not culprit.startswith(ALLOWED[what])] == []


def test_a_silenced_line_says_why() -> None:
    """What a check finds may be let be, for a reason that stands beside it."""
    silent = [
        f"{name(path)}:{number}"
        for path in python_files("resqpy")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if (found := _SILENCED.search(line))
        and not re.search(r"\w", _SILENCED.sub("", line[found.start() :]))
    ]

    assert silent == []


def test_a_text_file_names_its_encoding() -> None:
    """What stands in a file does not depend on the language of the machine."""
    culprits = [
        f"{name(path)}:{node.lineno}"
        for path in python_files("resqpy")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("read_text", "write_text")
        and ast.unparse(node.func.value) != "formatter"  # click's writes no file
        and not (node.args[node.func.attr == "write_text" :] or _has_encoding(node))
    ]

    assert culprits == []


def _has_encoding(call: ast.Call) -> bool:
    return any(keyword.arg == "encoding" for keyword in call.keywords)


def test_key_names_are_made_in_one_place() -> None:
    """The text `resque:` stands in one file; a script gets its keys, it makes none."""
    python = [name(path) for path in python_files("resqpy") if has_literal(path, "resque:")]
    lua = [name(path) for path in PACKAGE.rglob("*.lua") if "resque:" in without_comments(path)]

    assert [culprit for culprit in python + lua if culprit not in KEY_NAMES] == []


def test_scripts_encode_no_json() -> None:
    """`cjson` makes `{}` of `[]` and a float of 2**64: a script may look into a job, no more."""
    lua = {name(path): without_comments(path) for path in PACKAGE.rglob("*.lua")}

    assert [where for where, code in lua.items() if "cjson.encode" in code] == []


def test_no_module_imports_itself_by_a_detour() -> None:
    """Modules have an order, also inside a floor."""
    graph = grimp.build_graph("resqpy", cache_dir=None, exclude_type_checking_imports=True)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}

    TopologicalSorter(imports).prepare()  # raises CycleError, which names the modules


@cache
def touched(path: Path) -> set[str]:
    """The modules (by their first name) and the dotted names that a file uses."""
    return set(_touched(path))


def test_no_test_has_little_patience() -> None:
    """A machine may be busy: who waits for a condition does it by tests/support/waiting.py, or as long."""
    root = Path(__file__).parents[1]
    short = re.compile(r"monotonic\(\) \+ (\d\d?)\b(?!\.)")
    found = [
        f"{path.relative_to(root)}: {each.group()}"
        for path in root.rglob("*.py")
        for each in short.finditer(path.read_text())
        if "support" not in path.parts and int(each.group(1)) > 1
    ]
    assert found == []


def test_no_two_classes_have_one_name() -> None:
    """Who searches for one finds it, and no other."""
    found: dict[str, list[str]] = {}
    for path in python_files("resqpy"):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(name(path))

    assert {each: places for each, places in found.items() if len(places) > 1} == {}


def _touched(path: Path) -> Iterator[str]:
    for node in ast.walk(tree(path)):
        match node:
            case ast.Import(names=names):
                yield from (alias.name.partition(".")[0] for alias in names)
            case ast.ImportFrom(module=str(module), names=names):
                yield module.partition(".")[0]
                yield from (f"{module}.{alias.name}" for alias in names)
            case ast.Attribute(value=ast.Name(id=owner), attr=attribute):
                yield f"{owner}.{attribute}"
            case ast.Attribute(value=ast.Attribute(attr=owner), attr=attribute):
                yield f"{owner}.{attribute}"  # datetime.datetime.now
            case ast.Name(id="__import__"):
                yield "__import__"


def has_literal(path: Path, text: str) -> bool:
    """Whether the text stands in a string that is no docstring."""
    module = tree(path)
    words = {id(docstring(node)) for node in ast.walk(module)}
    return any(
        isinstance(node, ast.Constant)
        and isinstance(node.value, str | bytes)
        and text in (node.value if isinstance(node.value, str) else node.value.decode("latin-1"))
        and id(node) not in words
        for node in ast.walk(module)
    )
