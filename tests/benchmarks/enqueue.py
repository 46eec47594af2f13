"""Enqueueing: one by one, gathered, in bulk."""

from __future__ import annotations

from tests.benchmarks.peers import NODE, OURS
from tests.benchmarks.report import Bar, Row, Section
from tests.benchmarks.runner import Bench

NAME = "enqueue"


def measure(bench: Bench) -> Section:
    """Three ways."""
    return Section(
        NAME,
        [
            _row(bench, "enqueue, each awaited", "single", bench.size(8_000, 2_000), Bar(1.0)),
            _row(bench, "enqueue, 1,000 gathered", "gathered", bench.size(40_000, 10_000)),
            _row(
                bench,
                "enqueue_many of 10,000 beside gathered enqueues",
                "many",
                bench.size(100_000, 20_000),
                Bar(3.0),
                theirs="gathered",
            ),
        ],
    )


def _row(
    bench: Bench, what: str, way: str, jobs: int, bar: Bar | None = None, theirs: str = ""
) -> Row:
    ways = {OURS: way, NODE: theirs or way}
    found = bench.both(lambda side: float(bench.result(side, "enqueue", way=ways[side], jobs=jobs)))
    return Row(what, found[OURS], found[NODE], bar=bar)
