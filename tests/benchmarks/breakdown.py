"""The profile of the drain: where the microseconds of a no-op job go."""

from __future__ import annotations

from typing import Any

from tests.benchmarks.drain import drained
from tests.benchmarks.peers import OURS
from tests.benchmarks.report import Section
from tests.benchmarks.runner import Bench

NAME = "profile"
_SLOTS = 50


def measure(bench: Bench) -> Section:
    """One run with the parts on the clock."""
    jobs = bench.size(40_000, 10_000)
    bench.redis.config_resetstat()
    result = drained(bench, OURS, "breakdown", jobs, processors=_SLOTS)
    script_us = bench.redis.info("commandstats")["cmdstat_evalsha"]["usec"] / jobs
    return Section(NAME, text=text_of(result, script_us))


def text_of(result: dict[str, Any], script_us: float) -> str:
    """The parts, the dearest first."""
    parts = sorted(result["parts"].items(), key=lambda part: -part[1])
    lines = [f"where the {result['total']:.1f} µs of a no-op job go ({_SLOTS} slots, one process):"]
    lines += [f"  {spent:6.2f}  {name}" for name, spent in parts]
    lines.append(f"  Redis itself works {script_us:.2f} µs a job in the exchange")
    lines += [f"  (not found: {name})" for name in result["missing"]]
    return "\n".join(lines)
