"""Jobs that wait 10 ms, on 100 processors of one process: how near to the ideal."""

from __future__ import annotations

from tests.benchmarks.drain import rate
from tests.benchmarks.report import Bar, Row, Section
from tests.benchmarks.runner import Bench

NAME = "waiting"
_WAIT_MS, _PROCESSORS, _JOBS = 10, 100, 5_000
_IDEAL = _PROCESSORS * 1000 / _WAIT_MS  # jobs a second


def measure(bench: Bench) -> Section:
    """Ours and theirs."""
    found = bench.both(
        lambda side: rate(bench, side, "drain", _JOBS, processors=_PROCESSORS, wait_ms=_WAIT_MS)
    )
    ours, theirs = (None if each is None else each / _IDEAL * 100 for each in found.values())
    bar = Bar(85.0, on="ours", unit="%")
    what = f"{_JOBS:,} jobs of 10 ms on 100 processors, of the ideal"
    return Section(NAME, [Row(what, ours, theirs, "%", bar=bar)])
