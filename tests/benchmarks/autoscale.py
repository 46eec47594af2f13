"""The curve of `MultiWorker`: how many task processors over time, for each kind of job."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

from tests.benchmarks.peers import ROOT
from tests.benchmarks.report import Section
from tests.benchmarks.runner import Bench

NAME = "autoscale"
_PROGRAM = "tests.benchmarks.autoscale_curve"


def measure(bench: Bench) -> Section:
    """Run it as the program that it is."""
    if find_spec(_PROGRAM) is None:
        return Section(NAME, text=f"{NAME}: there is no {_PROGRAM}")
    command = [sys.executable, "-m", _PROGRAM, *(["--quick"] if bench.quick else [])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return Section(NAME, text=done.stdout.strip() + done.stderr, failed=done.returncode != 0)
