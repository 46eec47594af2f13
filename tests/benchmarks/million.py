"""A queue of a million jobs: what stays usable, and what a job costs Redis."""

from __future__ import annotations

from tests.benchmarks.peers import NODE, OURS
from tests.benchmarks.report import Row, Section
from tests.benchmarks.runner import QUEUE, Bench

NAME = "million"
_STEPS = ("length", "first page", "page in the middle", "delete by arguments", "clear")


def measure(bench: Bench) -> Section:
    """Each step once on each side: they take long, and differ by much or not at all."""
    jobs = bench.size(1_000_000, 100_000)
    ours = _ours(bench, jobs)
    theirs = _theirs(bench, jobs) if NODE in bench.sides else {}
    what = f"{jobs:,} jobs: "
    rows = [Row(f"{what}enqueue_many", ours["fill"], unit="s", smaller_is_better=True)]
    rows += [
        Row(what + step, ours[step] * 1e3, _ms(theirs.get(step)), "ms", smaller_is_better=True)
        for step in _STEPS
    ]
    rows.append(_memory(bench))
    return Section(NAME, rows)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3


def _ours(bench: Bench, jobs: int) -> dict[str, float]:
    found: dict[str, float] = bench.result(OURS, "million", jobs=jobs)
    return found


def _theirs(bench: Bench, jobs: int) -> dict[str, float]:
    bench.redis.flushall()
    bench.preload(bench.keys.queue(QUEUE), jobs)
    with bench.peer(NODE, "million", jobs=jobs) as peer:
        found: dict[str, float] = peer.expect("result", 120.0)
    return found


def _memory(bench: Bench) -> Row:
    jobs = bench.size(100_000, 20_000)
    found = {side: _bytes_per_job(bench, side, jobs) for side in bench.sides}
    what = f"memory of Redis for a waiting job (of {jobs:,})"
    return Row(what, found[OURS], found.get(NODE), "bytes", smaller_is_better=True)


def _bytes_per_job(bench: Bench, side: str, jobs: int) -> float:
    bench.redis.flushall()
    with bench.peer(side, "million", jobs=jobs, fill_only=True) as peer:
        peer.expect("filled", 120.0)
        return int(bench.redis.memory_usage(bench.keys.queue(QUEUE), samples=0) or 0) / jobs
