"""The measurements by name, in the order in which they are done."""

from __future__ import annotations

from collections.abc import Callable

from tests.benchmarks import (
    autoscale,
    breakdown,
    drain,
    enqueue,
    idle,
    lateness,
    million,
    pickup,
    promotion,
    start,
    tracked,
    waiting,
)
from tests.benchmarks.report import Section
from tests.benchmarks.runner import Bench

_PARTS = (
    drain, breakdown, waiting, enqueue, pickup, idle, million, promotion, lateness, tracked,
    start, autoscale,
)  # fmt: skip
ALL: dict[str, Callable[[Bench], Section]] = {part.NAME: part.measure for part in _PARTS}
DEFAULT = [name for name in ALL if name != autoscale.NAME]  # its curve takes its own minutes
