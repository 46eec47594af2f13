"""The project's own workflow installs the programs of all languages, and fails without them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.support.other_languages import LANGUAGES
from tests.support.source import ROOT

FILE = ROOT / ".github" / "workflows" / "ci.yml"


@pytest.fixture(scope="module")
def job() -> Any:
    """Its one job."""
    [job] = YAML(typ="safe").load(FILE.read_text())["jobs"].values()
    return job


def test_it_has_the_form_that_github_wants() -> None:
    """By GitHub's own schema."""
    tool = Path(sys.executable).parent / "check-jsonschema"
    arguments = [str(tool), "--builtin-schema", "vendor.github-workflows", str(FILE)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_nothing_may_be_skipped(job: Any) -> None:
    """All languages are required, no step may fail, and the last is the whole check."""
    assert set(job["env"]["RESQPY_REQUIRE"].split(",")) == set(LANGUAGES)
    assert job["steps"][-1]["run"] == "bash .ci/run"
    assert [step for step in job["steps"] if step.get("continue-on-error") or step.get("if")] == []


def test_it_installs_what_was_recorded(job: Any) -> None:
    """Ruby's gems and php-resque in the versions that the recordings come from."""
    words = "\n".join(step.get("run", "") for step in job["steps"])
    recorded = json.loads((ROOT / "tests/foreign/recorded/ruby-06-lock.json").read_text())["stack"]
    for gem in ("resque", "resque-scheduler"):
        found = re.search(rf"(?<![\w-]){gem} ([\d.]+)", recorded)
        assert found is not None
        assert f" {gem}:{found[1]}" in words
    composer = json.loads((ROOT / "tests/interop/php/composer.json").read_text())
    php = json.loads((ROOT / "tests/foreign/recorded/php-01-enqueue.json").read_text())["stack"]
    assert f"php-resque {composer['require']['resque/php-resque']}," in php
    assert "composer install" in words
    assert "--working-dir=tests/interop/php" in words


@pytest.mark.parametrize(("in_ci", "code"), [("true", 1), ("", 0)])
def test_without_node_ci_fails(tmp_path: Path, in_ci: str, code: int) -> None:
    """What npm gives must be there; elsewhere it is told that tests are skipped."""
    for program in ("dirname", "basename"):
        (tmp_path / program).symlink_to(shutil.which(program) or "")
    script = '. "$(dirname -- "$0")/_env.sh"; ensure_node; echo went on'
    done = subprocess.run(
        [shutil.which("sh") or "sh", "-c", script, str(ROOT / "bin" / "test")],
        env={"PATH": str(tmp_path), "CI": in_ci}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code
    assert ("went on" in done.stdout) == (code == 0)
    assert "node and npm" in done.stderr
