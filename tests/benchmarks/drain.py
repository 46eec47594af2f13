"""Draining no-op jobs that are there already, one process each, and against the bare prototype."""

from __future__ import annotations

from typing import Any

from tests.benchmarks.peers import NODE, OURS
from tests.benchmarks.report import Bar, Row, Section
from tests.benchmarks.runner import QUEUE, Bench

NAME = "drain"
_READY = "bench:ready"  # the jobs wait here until the workers are up; then one RENAME starts all


def rate(bench: Bench, side: str, program: str, jobs: int, **params: object) -> float:
    """Jobs a second of one program."""
    return float(drained(bench, side, program, jobs, **params)["rate"])


def drained(bench: Bench, side: str, program: str, jobs: int, **params: object) -> dict[str, Any]:
    """Let one program drain a queue; its result."""
    bench.redis.flushall()
    bench.redis.sadd(bench.keys.queues, QUEUE)
    bench.preload(_READY, jobs)
    with bench.peer(side, program, jobs=jobs, **params) as peer:
        peer.expect("ready")
        bench.redis.rename(_READY, bench.keys.queue(QUEUE))
        result: dict[str, Any] = peer.expect("result", 300.0)
    return result


def measure(bench: Bench) -> Section:
    """All of them."""
    return Section(NAME, [_multi(bench), _single(bench), *_prototypes(bench)])


def _multi(bench: Bench) -> Row:
    jobs = {OURS: bench.size(40_000, 10_000), NODE: bench.size(12_000, 3_000)}
    found = bench.both(lambda side: rate(bench, side, "drain", jobs[side], processors=50))
    return Row("no-op drain, MultiWorker 50/50", found[OURS], found[NODE], bar=Bar(3.0))


def _single(bench: Bench) -> Row:
    jobs = {OURS: bench.size(10_000, 2_000), NODE: bench.size(6_000, 1_500)}
    found = bench.both(lambda side: rate(bench, side, "drain", jobs[side]))
    return Row("no-op drain, Worker", found[OURS], found[NODE])


def _prototypes(bench: Bench) -> list[Row]:
    return [_against_prototype(bench, slots) for slots in (10, 50, 200)]


def _against_prototype(bench: Bench, slots: int) -> Row:
    jobs = bench.size(40_000, 10_000)
    found = bench.medians(
        {
            "prototype": lambda: rate(bench, OURS, "prototype", jobs, processors=slots),
            OURS: lambda: rate(bench, OURS, "drain", jobs, processors=slots),
        }
    )
    ours, bare = found[OURS], found["prototype"]
    assert ours is not None
    assert bare is not None
    note = f"the bare prototype: {bare:,.0f} /s; ours is {ours / bare:.2f} of it"
    return Row(f"no-op drain, {slots} slots, beside the prototype", ours, note=note)
