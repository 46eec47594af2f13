"""The measurements by name, in the order in which they are done."""

from __future__ import annotations

from collections.abc import Callable

from tests.benchmarks import breakdown, drain, enqueue, idle, million, pickup, waiting
from tests.benchmarks.report import Section
from tests.benchmarks.runner import Bench

_PARTS = (drain, breakdown, waiting, enqueue, pickup, idle, million)
ALL: dict[str, Callable[[Bench], Section]] = {part.NAME: part.measure for part in _PARTS}
DEFAULT = list(ALL)
