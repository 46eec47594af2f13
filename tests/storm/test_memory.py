"""A worker that works for long needs no more memory than one that has worked for a while."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from resqpy import Queue
from tests.storm.auditor import Notes
from tests.storm.fleet import Fleet, Role
from tests.storm.test_storm import Keep
from tests.support.proxy import Proxy
from tests.support.waiting import wait_for

WARM, MEASURED = 50_000, 150_000
KINDS = ("plain", "threaded", "retried", "locked", "once")


def resident_kib(pid: int) -> int:
    """What the process has in memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    [size] = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(size)


async def is_empty(redis: Any) -> bool:
    """Whether the queue is."""
    return not await redis.llen("resque:queue:storm")


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc here")
async def test_memory_does_not_grow(
    redis_url: str, redis: Any, tmp_path: Path, tell: Callable[[str], None], keep: Keep
) -> None:
    """Less than 1 MB for 100,000 jobs, after the first 50,000; connections break now and then."""
    fleet = Fleet(tmp_path, random.Random())
    samples: list[tuple[int, int]] = []
    async with Queue(redis_url) as queue, Proxy(redis_url) as proxy:
        member = await fleet.start(
            Role(("worker", "--scheduler", "--max", "20", "-t", "2s")), proxy.url
        )
        try:
            for first in range(0, WARM + MEASURED, 5_000):
                numbers = range(first, first + 5_000)
                await queue.enqueue_many([("storm", KINDS[n % 5], [{"n": n}]) for n in numbers])
                await wait_for(lambda: is_empty(redis), 300)
                samples.append((first + 5_000, resident_kib(member.pid)))
                if first % 20_000 == 0:
                    proxy.reset()
            assert await fleet.stop(member) == 0
        finally:
            await fleet.close()
    done = sum(numbers.total() for numbers in Notes(fleet.notes).done.values())
    assert done > 0.9 * (WARM + MEASURED)
    early = median(size for count, size in samples if WARM <= count < WARM + 30_000)
    late = median(size for count, size in samples[-6:])
    slope = (late - early) / 1024 / ((MEASURED - 30_000) / 100_000)
    tell(f"{early / 1024:.1f} MiB after {WARM} jobs, {slope:+.2f} MiB for 100,000 more")
    assert slope < 1
    keep(
        "memory",
        {
            "jobs": WARM + MEASURED,
            "MiB after 50,000": round(early / 1024, 1),
            "MiB per 100,000 more": round(slope, 2),
        },
    )
