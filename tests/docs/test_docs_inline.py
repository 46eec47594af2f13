"""Code in running text names what there is: commands, options, classes, settings, variables, files."""

from __future__ import annotations

import contextlib
import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from resqpy import Process
from resqpy.framework.config.merge import KNOWN, variable_of
from tests.cli.reference import commands
from tests.docs.command_lines import all_options, problem_of
from tests.docs.pages import DOCS, ROOT
from tests.docs.test_names import look_up

PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
SECTIONS = {path.partition(".")[0] for path in KNOWN}
FLOORS = "base|store|engine|framework|cli|plugins|testing|embedded"
# What initializers of users bring is not looked up.
_OURS = re.compile(
    r"(resqpy|api\.(?:tasks|tracked|resque|config|registry|log))((?:\.\w+)*)(?:\(.*\))?"
)


def spoken(page: Path) -> Iterator[str]:
    """The pieces of code in the text of a page, on one line each."""
    text = re.sub(
        r"^ *```.*?^ *```$|<!--.*?-->", "", page.read_text(), flags=re.DOTALL | re.MULTILINE
    )
    for paragraph in re.split(r"\n\s*\n|\n(?=[|*-] )|\n(?=\|)", text):
        for found in re.findall(r"`([^`]+)`", paragraph):
            yield " ".join(found.split())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_options_settings_and_files_exist(page: Path) -> None:
    """What a page names, of the code, of the command line and of the config."""
    problems = [problem for code in spoken(page) if (problem := _problem(code)) is not None]

    assert problems == []


def _problem(code: str) -> str | None:
    if code.startswith(("resqpy ", "bin/", "pip install")):
        lines = _alternatives(code)
        return next((problem for line in lines if (problem := problem_of(line))), None)
    if found := re.match(r"--[a-z][\w-]*", code):
        known = found[0] in all_options() | FOREIGN_OPTIONS
        return None if known else f"no command has {found[0]}"
    if re.fullmatch(r"RESQPY_\w+(?:=.*)?", code):
        name = code.partition("=")[0]
        known = name in _variables() | OF_TESTS or name.startswith(EXAMPLES)
        return None if known else f"nobody reads {name}"
    if (found := re.fullmatch(r"(\w+)\.(\w+)", code)) and found[1] in SECTIONS:
        known = any(f"{path}.".startswith(f"{code}.") for path in KNOWN)
        return None if known or found[2] in {"py", "js"} else f"there is no setting {code}"
    if re.fullmatch(rf"(?:tests|docs|resqpy|{FLOORS})/[\w/.-]+", code.partition("::")[0]):
        path = code.partition("::")[0]
        return None if any((root / path).exists() for root in (ROOT, ROOT / "resqpy")) else path
    return None


# Options of docker, of bin/quickstart, bin/test and bin/bench.
FOREIGN_OPTIONS = {"--time", "--stay", "--all", "--quick", "--json", "--no-history"}
# Read by tests/support/other_languages.py alone.
OF_TESTS = {"RESQPY_REQUIRE"}
# A misspelt one; those of the section `mail`, which a user has.
EXAMPLES = ("RESQPY_TASKS_TIMOUT", "RESQPY_MAIL_")
# Sections that users have; a key of a job.
USERS = ("api.config.NAME", "api.config.mail", "resqpy.unreadable")


def _alternatives(code: str) -> list[str]:
    """`resqpy task create | get ID` is two commands."""
    first, *others = (part.strip() for part in code.split("|"))
    if not first.startswith("resqpy") or any(not part for part in others):
        return [first]
    stem = first.rpartition(" ")[0]
    return [first, *(f"{stem} {part}" for part in others)]


@cache
def _variables() -> set[str]:
    own = {
        variable
        for ctx, command in commands()
        for param in command.params
        for variable in getattr(param, "variables", lambda _: [])(ctx)
    }
    config = {variable_of(path) for path in KNOWN}
    return own | config | {f"{name}_FILE" for name in config} | {"RESQPY_ENV", "RESQPY_CONFIG"}


async def test_names_of_the_code_exist(process: Process) -> None:
    """By import, or by attribute of the running process."""
    named = {
        found[1] + found[2]: page
        for page in PAGES
        if page.name != "names.md"  # ActionHero's; ours are looked up in test_names.py
        for code in spoken(page)
        if (found := _OURS.fullmatch(code.removeprefix("await ")))
    }
    missing = []
    for name, page in named.items():
        if name.startswith(USERS):
            continue
        try:
            _find(name)
        except Exception as error:
            missing.append(f"{page.relative_to(ROOT)}: {name}: {error!r}")

    assert not missing, "\n".join(missing)
    assert len(named) > 30


def _find(name: str) -> object:
    with contextlib.suppress(ImportError):
        return importlib.import_module(name)
    return look_up(name)
