"""Delayed jobs: how long after its second one starts, with idle workers and while they drain."""

from __future__ import annotations

import time

from tests.benchmarks import delayed_jobs
from tests.benchmarks.peers import NODE, OURS
from tests.benchmarks.report import Bar, Row, Section, percentile
from tests.benchmarks.runner import QUEUE, Bench

NAME = "lateness"
_LATE = "late"  # their queue, before that of the backlog, and their task
_A_SECOND = 10  # jobs
_PROCESSORS = 50
_BACKLOG_A_SECOND = 50_000  # more than we drain
_SOON = Bar(50.0, on="ours", at_most=True, unit="ms")


def measure(bench: Bench) -> Section:
    """Idle (beside node-resque), and under a full drain (ours only: Node's drain is slower anyway)."""
    seconds = bench.size(20, 4)
    idle = {side: lates(bench, side, seconds) for side in bench.sides}
    rows = [
        _row("idle", idle[OURS], idle.get(NODE), share, _SOON if share == 0.99 else None)
        for share in (0.5, 0.99)
    ]
    seconds = bench.size(10, 3)
    busy = lates(bench, OURS, seconds, drain=True)
    drained = int(bench.redis.get(bench.keys.stat("processed")) or 0)
    rows += [_row("under a full drain", busy, None, share, None) for share in (0.5, 0.99)]
    return Section(
        NAME, rows, text=f"lateness: {drained:,} jobs were drained beside in {seconds} s"
    )


def _row(
    when: str, ours: list[float], theirs: list[float] | None, share: float, bar: Bar | None
) -> Row:
    return Row(
        f"lateness of delayed jobs, {when}, p{share * 100:.0f}",
        percentile(ours, share),
        percentile(theirs, share) if theirs else None,
        "ms",
        smaller_is_better=True,
        bar=bar,
        note=f"of {len(ours)} jobs, earliest {min(ours):.1f} ms",
    )


def lates(bench: Bench, side: str, seconds: int, *, drain: bool = False) -> list[float]:
    """Milliseconds between the second at which a job was due and its start."""
    bench.redis.flushall()
    bench.redis.sadd(bench.keys.queues, QUEUE, _LATE)
    params = {"queues": [_LATE, QUEUE], "processors": _PROCESSORS, "jobs": _A_SECOND * seconds}
    if drain:
        bench.preload("bench:ready", _BACKLOG_A_SECOND * (seconds + 2))
    with bench.peer(side, "scheduler") as scheduler, bench.peer(side, "late", **params) as worker:
        scheduler.expect("ready")
        worker.expect("ready")
        first = int(time.time()) + 2
        for second in range(first, first + seconds):
            for number in range(_A_SECOND):
                delayed_jobs.at(bench, second, [second, number], queue=_LATE, task=_LATE)
        if drain:
            time.sleep(max(0.0, first - 0.5 - time.time()))
            bench.redis.rename("bench:ready", bench.keys.queue(QUEUE))
        found: list[float] = worker.expect("result", seconds + 60.0)
    if drain and not bench.redis.exists(bench.keys.queue(QUEUE)):
        raise RuntimeError("the backlog was gone before the delayed jobs were: make it larger")
    return found
