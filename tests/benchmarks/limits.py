"""What a rule costs Redis: the time of the exchanges that take jobs and end them, without a worker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from resqpy import Limit, Rate
from resqpy.base.limits import AnyLimit
from resqpy.base.model import WorkerId
from resqpy.store import limits
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions
from resqpy.store.exchange import Exchange, Exchanged, SlotRef
from tests.benchmarks.report import Row, Section
from tests.benchmarks.runner import QUEUE, Bench

NAME = "limits"
_SLOTS = [SlotRef.of(WorkerId(f"h+7-{n}-abc", "x", QUEUE), str(n)) for n in range(50)]
_IDLE = 200


@dataclass(frozen=True)
class Case:
    """A rule.

    Attributes:
        values: of the input `account`.
    """

    tasks: Mapping[str, Sequence[AnyLimit]] = field(default_factory=dict)
    queues: Mapping[str, int] = field(default_factory=dict)
    values: int = 1000


_OTHERS = {f"T{n}": [Limit(5)] for n in range(499)}
_CASES = {
    "no rule": Case(),
    "a limit of the queue": Case(queues={QUEUE: 100}),
    "a limit of the task": Case({"C": [Limit(100)]}),
    "a limit of the task, and of 499 others": Case({"C": [Limit(100)], **_OTHERS}),
    "a limit of each of 1,000 values": Case({"C": [Limit(100, per="account")]}),
    "a rate": Case({"C": [Rate(1_000_000, burst=1_000_000)]}),
    "all three of these": Case(
        {"C": [Limit(100), Limit(100, per="account"), Rate(1_000_000, burst=1_000_000)]}
    ),
    "2 of each of 10 values, parked once": Case({"C": [Limit(2, per="account")]}, values=10),
}


def measure(bench: Bench) -> Section:
    """Each rule alone."""
    return Section(NAME, [_row(bench, name, case) for name, case in _CASES.items()])


def _row(bench: Bench, name: str, case: Case) -> Row:
    runs = [_run(bench, case) for _ in range(1 if bench.quick else 3)]
    job, idle = min(run[0] for run in runs), min(run[1] for run in runs)
    return Row(
        f"Redis' time for a job, {name}",
        job,
        unit="µs",
        smaller_is_better=True,
        note=f"idle exchange: {idle:.0f} µs",
    )


def _run(bench: Bench, case: Case) -> tuple[float, float]:
    """Microseconds of a job, and of an exchange that finds nothing."""
    bench.redis.flushall()
    return asyncio.run(_taken(bench, case, bench.size(10_000, 1_000)))


async def _taken(bench: Bench, case: Case, jobs: int) -> tuple[float, float]:
    store = Store(RedisOptions(f"unix://{bench.server.socket_path}"))
    desk, calls = Exchange(store), 0

    async def exchange(
        free: Sequence[SlotRef], succeeded: Mapping[bytes, Sequence[SlotRef]]
    ) -> Exchanged:
        nonlocal calls
        calls += 1
        run_at = f"2026-01-01T00:00:00.{calls:06d}Z"
        return await desk.run([], free, [QUEUE], run_at, succeeded=succeeded)

    await limits.announce(store, case.tasks, case.queues)
    await exchange(_SLOTS, {})
    bench.redis.config_resetstat()
    for _ in range(_IDLE):
        await exchange(_SLOTS, {})
    idle = _used_us(bench) / _IDLE
    args = ({"n": n, "account": n % case.values} for n in range(jobs))
    texts = [json.dumps({"class": "C", "queue": QUEUE, "args": [each]}) for each in args]
    bench.redis.rpush(bench.keys.queue(QUEUE), *(each.replace(" ", "") for each in texts))
    bench.redis.config_resetstat()
    done, running = 0, dict[bytes, list[SlotRef]]()
    while done < jobs:
        busy = [slot for some in running.values() for slot in some]
        free = [slot for slot in _SLOTS if slot not in busy]
        taken, named = (await exchange(free, running)).taken, [*busy, *free]
        running = {}
        for each in taken:
            running.setdefault(each.claim.beginning, []).append(named[each.slot])
        done += len(taken)
    await desk.close()
    await store.close()
    return _used_us(bench) / jobs, idle


def _used_us(bench: Bench) -> float:
    return float(bench.redis.info("commandstats")["cmdstat_evalsha"]["usec"])
