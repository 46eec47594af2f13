"""`bin/setup` installs what is locked, whatever the index has by then."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.source import ROOT

# A project with a backend of its own, so that nothing but its two packages comes from an index.
PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "resqpy"
version = "1"
dependencies = ["first>=1"]
"""
BACKEND = """
import zipfile
def build_editable(folder, settings=None, metadata=None):
    name = "resqpy-1-py3-none-any.whl"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        wheel.writestr("resqpy-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: resqpy\\nVersion: 1\\n")
        wheel.writestr("resqpy-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        wheel.writestr("resqpy-1.dist-info/RECORD", "")
    return name
"""


def publish(index: Path, name: str, version: str, requires: str = "") -> str:
    """A package on the index; its digest."""
    folder = index / name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}.py", "")
        wheel.writestr(f"{info}/METADATA", metadata)
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    links = [f'<a href="{each.name}">{each.name}</a>' for each in sorted(folder.glob("*.whl"))]
    (folder / "index.html").write_text("\n".join(links))
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A project with our scripts, and a lock of two packages, the first of which wants an extra."""
    clone, index = tmp_path / "clone", tmp_path / "index"
    for name in ("setup", "_env.sh"):
        (clone / "bin").mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "bin" / name, clone / "bin" / name)
    first = publish(index, "first", "1.0", "Requires-Dist: second[more]>=1\n")
    second = publish(index, "second", "1.0", "Provides-Extra: more\n")
    lock = "".join(
        f"{name}==1.0 \\\n    --hash=sha256:{digest}\n"
        for name, digest in (("first", first), ("second", second))
    )
    (clone / "tests").mkdir()
    (clone / "tests" / "requirements.lock").write_text(lock)
    (clone / "pyproject.toml").write_text(PYPROJECT)
    (clone / "backend.py").write_text(BACKEND)
    return clone


def set_up(clone: Path) -> subprocess.CompletedProcess[str]:
    """`bin/setup` of a fresh clone, with that index and no other."""
    index = (clone.parent / "index").as_uri()
    environ = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
    environ |= {"PIP_INDEX_URL": index, "PIP_CONFIG_FILE": os.devnull, "PYTHON": sys.executable}
    return subprocess.run(
        ["sh", "bin/setup"], cwd=clone, env=environ, capture_output=True, text=True, check=False
    )


def versions(clone: Path) -> str:
    """What is installed."""
    words = (
        "from importlib.metadata import version as v; print(v('first'), v('second'), v('resqpy'))"
    )
    return subprocess.check_output([clone / ".venv/bin/python", "-c", words], text=True).strip()


def test_newer_versions_on_the_index_change_nothing(clone: Path) -> None:
    """Nothing is resolved: a newer version, also one that requires more, is not looked at."""
    index = clone.parent / "index"
    publish(index, "second", "2.0", "Requires-Dist: third\nProvides-Extra: more\n")
    publish(index, "first", "1.5", "Requires-Dist: third\n")

    done = set_up(clone)

    assert done.returncode == 0, done.stderr
    assert versions(clone) == "1.0 1.0 1"


@pytest.mark.full
def test_another_file_of_the_same_version_is_refused(clone: Path) -> None:
    """The hashes count."""
    publish(clone.parent / "index", "second", "1.0", "Summary: another\n")

    done = set_up(clone)

    assert done.returncode != 0
    assert "hash" in done.stderr.lower()
