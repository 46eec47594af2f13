"""Other libraries on Redis beside us, in one run, in turn: a drain of no-ops, an enqueue that is awaited alone,
and the pick-up from idle. Only by name: they are installed from the registries first; Sidekiq where Ruby has it.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import tempfile
import time
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.peers import ROOT, Program
from tests.benchmarks.report import Section, middle, percentile
from tests.benchmarks.runner import Bench

NAME = "beside"
_OTHERS = Path(__file__).parent / "others"
_NODE = ("bullmq@6.7.0", "ioredis@5.11.1")
_PYTHON = ("Repid", "taskiq", "Dramatiq", "huey")
_HEADER = (
    "drain of {drain:,} no-ops that are there (50 at once; threads of Dramatiq and huey: 8), from the fiftieth\n"
    "on; {enqueue:,} enqueues, each awaited; pick-up of {pickup} jobs from idle, from before the enqueue in\n"
    "another process to the first line of the job. Medians of {rounds} rounds in turn; uvloop in Python's.\n"
)


@dataclass(frozen=True)
class _Way:
    """How the program of a library is started; its argument follows."""

    command: tuple[str, ...]
    environ: Mapping[str, str]


def measure(bench: Bench) -> Section:
    """All, in turn."""
    drain, enqueue, pickup = (
        bench.size(20_000, 5_000),
        bench.size(5_000, 1_000),
        bench.size(100, 30),
    )
    rounds = bench.size(9, 3)
    with tempfile.TemporaryDirectory() as folder:
        ways, left_out = _ways(Path(folder))
        drained: dict[str, list[float]] = {name: [] for name in ways}
        enqueued: dict[str, list[float]] = {name: [] for name in ways}
        waited: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                drained[name].append(_result(bench, name, way, "drain", drain))
                enqueued[name].append(_result(bench, name, way, "enqueue", enqueue))
                waited[name] += _waits(bench, name, way, pickup)
    ours = {"drain": middle(drained["resqpy"]), "enqueue": middle(enqueued["resqpy"])}
    lines = [
        _HEADER.format(drain=drain, enqueue=enqueue, pickup=pickup, rounds=rounds),
        f"  {'':10}{'drain':>12}{'ours is':>9}{'enqueue':>12}{'ours is':>9}{'pick-up p50':>13}{'p99':>10}",
    ]
    for name in ways:
        rate, sent = middle(drained[name]), middle(enqueued[name])
        half, most = percentile(waited[name], 0.5), percentile(waited[name], 0.99)
        lines.append(
            f"  {name:10}{rate:>10,.0f} /s{ours['drain'] / rate:>7.2f} x{sent:>10,.0f} /s"
            f"{ours['enqueue'] / sent:>7.2f} x{half:>10.2f} ms{most:>7.2f} ms"
        )
    return Section(NAME, text="\n".join([*lines, *left_out]))


def _ways(folder: Path) -> tuple[dict[str, _Way], list[str]]:
    """Install them; and which are left out, and why."""
    program, environ = str(_OTHERS / "program.py"), {**os.environ, "PYTHONPATH": ""}
    ours = _environment(folder / "ours", f"{ROOT}[uvloop]")
    ways = {"resqpy": _Way((ours, program), environ)}
    left_out: list[str] = []
    if shutil.which("npm"):
        subprocess.run(
            ["npm", "install", "--silent", *_NODE], cwd=folder, check=True, capture_output=True
        )
        environ = {**environ, "NODE_PATH": str(folder / "node_modules")}
        ways["BullMQ"] = _Way(("node", str(_OTHERS / "bullmq.js")), environ)
    else:
        left_out.append("  not run: BullMQ (no npm here)")
    if _has_sidekiq():
        ways["Sidekiq"] = _Way(("ruby", str(_OTHERS / "sidekiq.rb")), environ)
    else:
        left_out.append("  not run: Sidekiq (no Ruby with the gem sidekiq here)")
    python = _environment(folder / "others", "-r", str(_OTHERS / "python.txt"))
    ways |= {name: _Way((python, program), environ) for name in _PYTHON}
    return ways, left_out


def _environment(folder: Path, *wanted: str) -> str:
    """An environment with what is wanted; its Python."""
    venv.create(folder, with_pip=True, symlinks=True)
    python = str(folder / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "-qq", *wanted], check=True)
    return python


def _has_sidekiq() -> bool:
    found = shutil.which("ruby")
    asked = [found or "", "-e", 'require "sidekiq/launcher"']
    return (
        found is not None
        and subprocess.run(asked, check=False, capture_output=True).returncode == 0
    )


def _program(bench: Bench, name: str, way: _Way, what: str, jobs: int) -> Program:
    url = f"unix://{bench.server.socket_path}"
    said = json.dumps({"library": name, "what": what, "url": url, "jobs": jobs})
    return Program(f"{name} {what}", [*way.command, said], dict(way.environ))


def _result(bench: Bench, name: str, way: _Way, what: str, jobs: int) -> float:
    bench.redis.flushall()
    with _program(bench, name, way, what, jobs) as program:
        return float(program.expect("result", 300.0))


def _waits(bench: Bench, name: str, way: _Way, jobs: int) -> list[float]:
    """Milliseconds that each of several jobs waited; the first two, which nothing is warm for, are left out."""
    bench.redis.flushall()
    found: list[float] = []
    with (
        _program(bench, name, way, "idle", 0) as worker,
        _program(bench, name, way, "sender", 0) as sender,
    ):
        worker.expect("ready")
        sender.expect("ready")
        for _ in range(jobs + 2):
            time.sleep(random.uniform(0.01, 0.05))
            sender.write(b"\n")
            found.append(float(worker.expect("ran", 30.0)))
    return found[2:]
