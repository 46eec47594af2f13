"""How long a person waits for a look: `resqpy queues`, from the shell to the shell."""

from __future__ import annotations

import subprocess
import sys
import time

from tests.benchmarks.report import Bar, Row, Section
from tests.benchmarks.runner import Bench

NAME = "start"
_LOOK = ("-m", "resqpy.cli", "queues", "--redis")
_BAR = Bar(200.0, on="ours", at_most=True, unit="ms")


def measure(bench: Bench) -> Section:
    """What it takes beyond an interpreter that does nothing."""
    look = [*_LOOK, f"unix://{bench.server.socket_path}"]
    bare, whole = [], []
    for _ in range(bench.size(11, 3)):
        bare.append(_elapsed_ms("-c", "pass"))
        whole.append(_elapsed_ms(*look))
    note = f"the interpreter alone takes {min(bare):.0f} ms"
    more = min(whole) - min(bare)  # what else runs on the machine only adds
    what = "`resqpy queues`, more than the interpreter"
    return Section(NAME, [Row(what, more, None, "ms", smaller_is_better=True, bar=_BAR, note=note)])


def _elapsed_ms(*command: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *command], capture_output=True, check=True)
    return (time.perf_counter() - began) * 1000
