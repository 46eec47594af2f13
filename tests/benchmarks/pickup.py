"""From idle: how long a bare RPUSH, as any client may send it, waits until its job runs."""

from __future__ import annotations

import json
import random
import time

from tests.benchmarks.peers import NODE, OURS
from tests.benchmarks.report import Bar, Row, Section, percentile
from tests.benchmarks.runner import QUEUE, TASK, Bench

NAME = "pickup"
_P50, _P99 = (Bar(limit, on="ours", at_most=True, unit="ms") for limit in (2.0, 10.0))


def measure(bench: Bench) -> Section:
    """A worker of one queue by its name, and one of `*`."""
    return Section(NAME, [*_rows(bench, "named queue", [QUEUE]), *_rows(bench, "queue *", "*")])


def _rows(bench: Bench, what: str, queues: str | list[str]) -> list[Row]:
    waited = {side: waits(bench, side, queues) for side in bench.sides}
    return [
        Row(
            f"pick-up from idle, {what}, p{share * 100:.0f}",
            percentile(waited[OURS], share),
            percentile(waited[NODE], share) if NODE in waited else None,
            "ms",
            smaller_is_better=True,
            bar=bar,
            note=f"of {len(waited[OURS])} jobs; node-resque of {len(waited.get(NODE, ()))}",
        )
        for share, bar in ((0.5, _P50), (0.99, _P99))
    ]


def waits(bench: Bench, side: str, queues: str | list[str]) -> list[float]:
    """Milliseconds that each of several jobs waited."""
    jobs = bench.size(500, 100) if side == OURS else bench.size(8, 2)
    bench.redis.flushall()
    bench.redis.sadd(bench.keys.queues, QUEUE)
    with bench.peer(side, "pickup", jobs=jobs, queues=queues) as peer:
        peer.expect("ready")
        time.sleep(0.5)  # until it is idle
        for _ in range(jobs):
            # a poller sleeps up to its 5 s: pushes at random moments of that
            time.sleep(random.uniform(0.005, 0.03) if side == OURS else random.uniform(0.1, 2.5))
            _push(bench)
            peer.expect("ran")
        found: list[float] = peer.expect("result")
    return found


def _push(bench: Bench) -> None:
    args = [str(time.monotonic_ns())]
    job = json.dumps({"class": TASK, "queue": QUEUE, "args": args}, separators=(",", ":"))
    bench.redis.rpush(bench.keys.queue(QUEUE), job)
