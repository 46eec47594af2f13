"""Tracked tasks beside untracked jobs: no-op throughput, creation, memory of a record; pages."""

from __future__ import annotations

from statistics import median
from typing import Any

from tests.benchmarks.drain import rate
from tests.benchmarks.peers import OURS
from tests.benchmarks.report import Row, Section
from tests.benchmarks.runner import Bench

NAME = "tracked"
SLOTS = 50


def measure(bench: Bench) -> Section:
    """Both, in turn."""
    jobs = bench.size(10_000, 2_000)
    runs: list[dict[str, Any]] = []
    plain: list[float] = []
    for _ in range(bench.size(3, 1)):
        plain.append(rate(bench, OURS, "drain", jobs, processors=SLOTS))
        runs.append(bench.result(OURS, "tracked", jobs=jobs, processors=SLOTS))
    untracked = median(plain)
    tracked = median(each["rate"] for each in runs)
    share = f"{tracked / untracked:.2f} of untracked jobs: {untracked:,.0f} /s"
    return Section(
        NAME,
        [
            Row("tracked no-op tasks, MultiWorker 50/50", tracked, note=share),
            Row("tracked tasks created, 500 at once", median(each["created"] for each in runs)),
            Row(
                "memory of a tracked task with its waiting job",
                median(each["memory"] for each in runs),
                unit="bytes",
                smaller_is_better=True,
            ),
            *_pages(bench),
        ],
    )


def _pages(bench: Bench) -> list[Row]:
    count = bench.size(100_000, 5_000)
    found = bench.result(OURS, "records", records=count)
    return [
        Row(
            f"page of 25 of {count:,} tracked tasks, {query}",
            start,
            unit="ms",
            smaller_is_better=True,
            note=f"at the start; in the middle {middle:.2f} ms, at the end {end:.2f} ms",
        )
        for query, (start, middle, end) in found.items()
    ]
