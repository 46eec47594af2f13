"""The measurements by name, in the order in which they are done."""

from __future__ import annotations

from collections.abc import Callable

from tests.benchmarks import (
    autoscale,
    beside,
    breakdown,
    console,
    drain,
    enqueue,
    first_job,
    idle,
    lateness,
    limits,
    million,
    pickup,
    promotion,
    rules,
    start,
    tracked,
    waiting,
)
from tests.benchmarks.report import Section
from tests.benchmarks.runner import Bench

_PARTS = (
    drain, breakdown, waiting, enqueue, pickup, idle, million, promotion, lateness, limits, tracked,
    start, autoscale, first_job, rules, console, beside,
)  # fmt: skip
ALL: dict[str, Callable[[Bench], Section]] = {part.NAME: part.measure for part in _PARTS}
# The curve and the full Redis take minutes of their own, the first jobs, the rules and the others an installation.
_BY_NAME = {part.NAME for part in (autoscale, first_job, rules, console, beside)}
DEFAULT = [name for name in ALL if name not in _BY_NAME]
