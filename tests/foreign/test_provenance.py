"""Each recording says which programs left it, and after what; the page beside them names the same versions."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.support.recordings import RECORDED

PAGE = (RECORDED / "README.md").read_text()
CUT = ("values", "json-writing")  # of recordings that they name, line by line
FILES = sorted(path for path in RECORDED.glob("*.json") if path.stem not in CUT)
PROGRAM = re.compile(r"([a-z/-]+) (\d+(?:\.\d+)+)")
# Those whose behaviour a recording shows; the others are what they were installed with.
MAIN = {
    "ruby",
    "resque",
    "resque-scheduler",
    "redis-rb",
    "node",
    "node-resque",
    "php",
    "php-resque",
    "activejob",
    "pyres",
}


def programs(text: str) -> set[tuple[str, str]]:
    """Names with versions."""
    return {(name, version) for name, version in PROGRAM.findall(text) if name in MAIN}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"of {path.stem}")
def test_a_recording_names_its_programs(path: Any) -> None:
    """With versions that the page has as well."""
    document = json.loads(path.read_text())
    stack = programs(document["stack"])
    language = path.stem.partition("-")[0]
    main = {"node": "node-resque", "php": "php-resque", "rails": "activejob", "pyres": "pyres"}.get(
        language, "resque"
    )
    assert main in {name for name, _ in stack}
    assert stack <= programs(PAGE)
    assert document["recording"].endswith(path.stem)
    assert document.get("step") or path.stem == "cron-formats"
    assert {
        each["key"].startswith("NS:") or "my:own" in each["key"]
        for each in document.get("keys", [])
    } <= {True}


def test_single_values_name_the_recording_they_come_from() -> None:
    """Each of them."""
    values = json.loads((RECORDED / "values.json").read_text())
    assert [
        each["name"] for kind in values.values() for each in kind if not each.get("recording")
    ] == []
