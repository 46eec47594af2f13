"""Who looks at a storm from outside: what was asked for, what the tasks noted, what is left in Redis."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resqpy.base import job_records

ONCE = ("once", "tracked_once")


@dataclass
class Report:
    """What was found.

    Attributes:
        asked: how many jobs of each kind.
        lost: jobs that did not run as often as they were asked for, and were not failed by name.
        begun_twice: runs of what may begin once.
        missing_seconds: those at which the cron task did not run.
        left: what stands in Redis though nobody is there any more, by its place.
        again: how many runs of each kind there were beyond those that were asked for.
        failed: how many jobs of each kind are in the failed list, by what they failed of.
        unknown: of these, how many at-most-once jobs had not begun as far as they noted.
    """

    asked: Counter[str] = field(default_factory=Counter)
    lost: dict[str, list[int]] = field(default_factory=dict)
    begun_twice: dict[str, list[int]] = field(default_factory=dict)
    missing_seconds: list[int] = field(default_factory=list)
    left: dict[str, int] = field(default_factory=dict)
    again: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)

    @property
    def faults(self) -> dict[str, Any]:
        """What must be empty."""
        found = {
            **{f"lost {kind}": numbers[:20] for kind, numbers in self.lost.items()},
            **{f"begun twice {kind}": numbers[:20] for kind, numbers in self.begun_twice.items()},
            "missing seconds of the cron task": self.missing_seconds[:20],
            "left": self.left,
        }
        return {name: what for name, what in found.items() if what}

    @property
    def figures(self) -> dict[str, Any]:
        """What docs/reference/promises.md says of it."""
        return {
            "jobs": dict(self.asked),
            "lost": sum(map(len, self.lost.values())),
            "at-most-once begun twice": sum(map(len, self.begun_twice.values())),
            "run again": dict(+self.again),
            "failed": dict(self.failed),
            "left behind": sum(self.left.values()),
        }

    def __str__(self) -> str:
        return (
            f"{self.asked.total()} jobs of {len(self.asked)} kinds: "
            f"{sum(map(len, self.lost.values()))} lost, "
            f"{sum(map(len, self.begun_twice.values()))} at-most-once begun twice, "
            f"left behind: {self.left or 'nothing'}; run again: {dict(+self.again) or 'none'}; "
            f"failed: {dict(self.failed) or 'none'}, of these not begun: {dict(+self.unknown) or 'none'}"
        )


class Notes:
    """What the tasks wrote: `what[kind][number]` counts."""

    def __init__(self, path: Path) -> None:
        self.begun: dict[str, Counter[int]] = defaultdict(Counter)
        self.done: dict[str, Counter[int]] = defaultdict(Counter)
        self.by_process: Counter[int] = Counter()
        for line in path.read_text().splitlines():
            kind, number, what, pid = line.split()
            (self.done if what == "done" else self.begun)[kind][int(number)] += 1
            self.by_process[int(pid)] += what == "done"


async def audit(redis: Any, notes: Notes, asked: dict[str, Counter[int]]) -> Report:
    """Look at everything, when all processes have ended.

    Args:
        asked: how often each number of a kind was asked for.
    """
    report = Report(asked=Counter({kind: numbers.total() for kind, numbers in asked.items()}))
    failed = await _failed(redis, report)
    for kind, numbers in asked.items():
        done, begun = notes.done[kind], notes.begun[kind]
        lost = [n for n, times in numbers.items() if done[n] < times and n not in failed[kind]]
        twice = [n for n, times in begun.items() if times > 1]
        report.lost[kind], report.begun_twice[kind] = sorted(lost), sorted(twice)
        report.again[kind] = sum(max(0, done[n] - times) for n, times in numbers.items())
        report.unknown[kind] = len(failed[kind] - set(begun)) if kind in ONCE else 0
    seconds = sorted(notes.done["cron"])
    report.missing_seconds = (
        sorted({*range(seconds[0], seconds[-1])} - {*seconds}) if seconds else [0]
    )
    report.left = await _left(redis)
    return report


async def _failed(redis: Any, report: Report) -> dict[str, set[int]]:
    """The jobs that were given up by name: what may begin once, and what killed its worker thrice."""
    found: dict[str, set[int]] = defaultdict(set)
    for raw in await redis.lrange("resque:failed", 0, -1):
        entry = job_records.decode_failed(raw)
        job = json.loads(entry.job_raw or b"{}")
        kind, args = job.get("class", "?"), job.get("args") or [{}]
        report.failed[f"{kind}: {entry.exception}"] += 1
        if kind in ONCE or entry.exception == "PoisonPill":
            found[kind].add(args[0].get("n", -1))
    return found


async def _left(redis: Any) -> dict[str, int]:
    """Jobs, records, locks and slots that nobody has any more; what waits for its time is none."""
    left: Counter[str] = Counter()
    for key in await redis.keys("resque:*"):
        name = key.removeprefix(b"resque:").decode()
        if name.startswith("queue:") and name != "queue:clock":
            left["jobs in queues"] += await redis.llen(key)
        elif name.startswith("worker:") and await redis.type(key) == b"string":
            record = await redis.get(key)
            left["jobs on records"] += job_records.payload_of_work(record) is not None
        elif name.startswith("resqpy:held:"):
            left["bytes kept beside a record"] += 1
        elif name.startswith(("lock:", "workerslock:")):
            left["locks without an end"] += await redis.ttl(key) == -1
    left["delayed jobs"] = await redis.zcard("resque:delayed_queue_schedule")
    left["claimed jobs"] = await redis.llen("resque:resqpy:claimed")
    left["locks of tracked tasks"] = await redis.zcard("resque:resqpy:tasks:locks")
    left["registered workers"] = await redis.scard("resque:workers")
    return dict(+left)
