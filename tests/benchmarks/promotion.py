"""The scheduler: how fast what is due gets into its queue."""

from __future__ import annotations

import time

from tests.benchmarks import delayed_jobs
from tests.benchmarks.peers import NODE, OURS
from tests.benchmarks.report import Bar, Row, Section
from tests.benchmarks.runner import QUEUE, Bench

NAME = "promotion"
_LONG_AGO_S = 600
_PATIENCE_S = 120.0


def measure(bench: Bench) -> Section:
    """A backlog in one second and over sixty, and a million of them."""
    jobs = bench.size(20_000, 4_000)
    return Section(
        NAME,
        [
            _beside(bench, f"promotion of {jobs:,} due jobs, in one second", jobs, 1),
            _beside(bench, f"promotion of {jobs:,} due jobs, over 60 seconds", jobs, 60),
            *_million(bench),
        ],
    )


def _beside(bench: Bench, what: str, jobs: int, seconds: int) -> Row:
    found = bench.both(lambda side: rate(bench, side, jobs, seconds))
    return Row(what, found[OURS], found[NODE], bar=Bar(10.0))


def rate(bench: Bench, side: str, jobs: int, seconds: int) -> float:
    """Jobs a second, from when the first ones are in the queue."""
    bench.redis.flushall()
    delayed_jobs.fill(bench, jobs, int(time.time()) - _LONG_AGO_S, seconds)
    params = {"timeout": 100} if side == NODE else {}
    with bench.peer(side, "scheduler", **params):
        first, start = _length_at_least(bench, 1)
        last, stop = _length_at_least(bench, jobs)
    return (last - first) / (stop - start)


def _length_at_least(bench: Bench, count: int) -> tuple[int, float]:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        length = bench.redis.llen(bench.keys.queue(QUEUE))
        now = time.perf_counter()
        if length >= count:
            return length, now
        time.sleep(0.001)
    raise TimeoutError(f"{count} jobs were not promoted in {_PATIENCE_S:g} s")


def _million(bench: Bench) -> list[Row]:
    jobs = bench.size(1_000_000, 50_000)
    bench.redis.flushall()
    delayed_jobs.fill(bench, jobs, int(time.time()) - 2 * 3_600, 3_600)
    with bench.peer(OURS, "delayed") as peer:
        seconds: dict[str, float] = peer.expect("result", 120.0)
    what = f"{jobs:,} delayed jobs: "
    rows = [
        Row(what + step, spent * 1e3, unit="ms", smaller_is_better=True)
        for step, spent in seconds.items()
    ]
    with bench.peer(OURS, "scheduler"):
        first, start = _length_at_least(bench, 1)
        last, stop = _length_at_least(bench, jobs)
    rows.append(Row(what + "promote, over 3,600 seconds", (last - first) / (stop - start)))
    return rows
