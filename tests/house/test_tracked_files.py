"""What is committed names no machine and no place where packages come from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.source import ROOT, tracked_files

# Spelled in pieces, so that this file does not name them itself.
REGISTRIES = re.compile(
    "|".join(
        re.escape(host)
        for host in (
            "pypi" + ".org",
            "python" + "hosted.org",
            "registry." + "npmjs.org",
            "registry." + "yarnpkg.com",
            "ruby" + "gems.org/gems",
        )
    )
)
MACHINES = re.compile(r"(?<![\w.])/(?:home|Users|root|work|opt)/[\w.-]+")
HOST_IN_LOCK = re.compile(r'"resolved"|^--(?!hash)|https?://\S+(?:tgz|whl|gz|simple)', re.MULTILINE)
LOCKS = ("tests/requirements.lock", "package-lock.json")


@pytest.mark.parametrize("pattern", [REGISTRIES, MACHINES], ids=["registries", "machines"])
def test_no_file_names_a_registry_or_a_machine(pattern: re.Pattern[str]) -> None:
    """Hosts of registries and paths of a developer's machine stand in no tracked file."""
    found = {
        str(path.relative_to(ROOT)): sorted(set(pattern.findall(text(path))))
        for path in tracked_files()
        if pattern.search(text(path))
    }

    assert found == {}


def test_lock_files_name_no_host() -> None:
    """A lock holds versions and hashes; whence they come is the machine's choice."""
    locks = [path for path in tracked_files() if str(path).endswith(LOCKS)]

    assert len(locks) >= 1
    assert [str(path) for path in locks if HOST_IN_LOCK.search(text(path))] == []


def text(path: Path) -> str:
    """Return a file's text; what is none has no names in it."""
    return path.read_text(errors="replace")
