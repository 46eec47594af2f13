"""Which machine, which versions, which commit; and one JSON line for each run."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.benchmarks.peers import NODE_PACKAGES, ROOT, has_node
from tests.benchmarks.report import Section
from tests.benchmarks.runner import Bench

FILE = Path(__file__).parent / "history.jsonl"


def facts(bench: Bench) -> dict[str, str]:
    """What the numbers depend on."""
    found = {
        "commit": _said("git", "describe", "--always", "--dirty", "--exclude=*"),
        "cpu": _cpu(),
        "cores": str(os.cpu_count()),
        "load": f"{os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        "redis-py": version("redis"),
        "hiredis": version("hiredis"),
        "redis": str(bench.redis.info("server")["redis_version"]),
    }
    if has_node():
        found["node"] = _said("node", "--version").lstrip("v")
        for package in ("node-resque", "ioredis"):
            found[package] = _version_of(package)
    return found


def _said(*command: str) -> str:
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version_of(package: str) -> str:
    return str(json.loads((NODE_PACKAGES / package / "package.json").read_text())["version"])


def headline(found: dict[str, str]) -> str:
    """The facts in one line."""
    return ", ".join(f"{name} {value}" for name, value in found.items())


def entry(found: dict[str, str], sections: Sequence[Section], *, quick: bool) -> dict[str, Any]:
    """A run as it is remembered."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": quick,
        **found,
        "seconds": {section.name: section.seconds for section in sections},
        "rows": [row.to_dict() for section in sections for row in section.rows],
    }


def append(found: dict[str, str], sections: Sequence[Section], *, quick: bool) -> None:
    """Remember a run."""
    with FILE.open("a") as file:
        file.write(json.dumps(entry(found, sections, quick=quick), ensure_ascii=False) + "\n")
