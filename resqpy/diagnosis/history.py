"""What ran in an hour, eight hours, three days or a month: by task, by queue, and over the time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from resqpy.base.history import (
    BUCKETS,
    FAILED,
    HOURS,
    LOST,
    MINUTES,
    QUEUES,
    RETRIED,
    RUN_MS,
    RUNS,
    TASKS,
    TENS,
    WAIT_MS,
    WAITED,
    Grain,
    Record,
    percentile_ms,
    total_of,
)
from resqpy.diagnosis import texts
from resqpy.store import history
from resqpy.store.connection.client import Store
from resqpy.store.history import HistoryMark

SHARES = (0.5, 0.95, 0.99)
_SURE = (
    0.01  # what others have done is less certain: processes count a few seconds later than Redis
)


@dataclass(frozen=True, slots=True)
class Period:
    """A time up to now.

    Attributes:
        slots: how many.
        together: so many of them are one point.
        name, step: how it and a point are called.
    """

    grain: Grain
    slots: int
    together: int
    name: str
    step: str

    @property
    def point_s(self) -> int:
        """Seconds of a point."""
        return self.grain.step_s * self.together


PERIODS = {
    "1h": Period(MINUTES, 60, 1, "hour", "a minute"),
    "8h": Period(TENS, 48, 1, "8 hours", "in 10 minutes"),
    "72h": Period(HOURS, 72, 1, "3 days", "an hour"),
    "30d": Period(HOURS, 720, 12, "30 days", "in 12 hours"),
}


@dataclass(frozen=True, slots=True)
class RunStats:
    """What is counted of runs that succeeded or failed.

    Attributes:
        retried: runs that are retried.
        lost: runs whose worker died.
        waits: the distribution is that of waits.
    """

    record: Sequence[int]

    @property
    def runs(self) -> int:
        """How many ended."""
        return self.record[RUNS]

    @property
    def failed(self) -> int:
        """How many of them failed."""
        return self.record[FAILED]

    @property
    def retried(self) -> int:
        """How many ended otherwise: they are retried."""
        return self.record[RETRIED]

    @property
    def lost(self) -> int:
        """How many were lost with their worker."""
        return self.record[LOST]

    @property
    def failed_share(self) -> float:
        """Of those that ended, from 0 to 1."""
        return self.failed / self.runs if self.runs else 0.0

    @property
    def run_ms(self) -> float | None:
        """How long one ran on average."""
        return self.record[RUN_MS] / self.runs if self.runs else None

    @property
    def wait_ms(self) -> float | None:
        """How long one had waited on average, where that is known."""
        return self.record[WAIT_MS] / self.record[WAITED] if self.record[WAITED] else None

    @property
    def spread(self) -> Sequence[int]:
        """How many ran that long (of a queue's: waited), for each class of `BOUNDS_MS` and one for longer."""
        return self.record[BUCKETS:]

    @property
    def percentiles_ms(self) -> tuple[float | None, ...]:
        """p50, p95 and p99 of what a task's ran, or a queue's waited."""
        return tuple(percentile_ms(self.record, share) for share in SHARES)

    def as_json(self, of: str) -> dict[str, Any]:
        """For programs.

        Args:
            of: what the percentiles are of: `run` or `wait`.
        """
        shown = [
            None if each is None or each == inf else round(each) for each in self.percentiles_ms
        ]
        told = {f"{of}_p{share * 100:.0f}_ms": ms for share, ms in zip(SHARES, shown, strict=True)}
        return {
            "runs": self.runs, "failed": self.failed, "retried": self.retried, "lost": self.lost,
            "run_ms": _rounded(self.run_ms), "wait_ms": _rounded(self.wait_ms), **told,
        }  # fmt: skip


def _rounded(ms: float | None) -> int | None:
    return None if ms is None else round(ms)


@dataclass(frozen=True, slots=True)
class Point:
    """A part of the period.

    Attributes:
        waiting: jobs in queues, at most; None: nobody has looked.
        oldest_ms: how long the first job of a queue had waited, at most.
    """

    at_ms: int
    stats: RunStats
    waiting: int | None
    oldest_ms: int | None

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "at": texts.iso(self.at_ms), **self.stats.as_json("run"), "waiting": self.waiting,
            "oldest_ms": self.oldest_ms,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class RunHistory:
    """What is known of a period.

    Attributes:
        points: the oldest first; the last one goes on.
        tasks, queues: by name, those that ran most first. Percentiles are of run times by task, of waits by queue.
        longest: how many jobs waited at most, by queue.
        others: how many jobs other programs succeeded and failed with, by Resque's own counters; None: not known.
            Jobs that failed because a worker of ours died are among them: no worker counts these as runs.
        marks: the oldest first.
    """

    points: Sequence[Point]
    total: RunStats
    tasks: Mapping[str, RunStats]
    queues: Mapping[str, RunStats]
    longest: Mapping[str, int]
    others: tuple[int, int] | None
    marks: Sequence[HistoryMark]

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "total": self.total.as_json("run"),
            "tasks": [{"task": name, **each.as_json("run")} for name, each in self.tasks.items()],
            "queues": [
                {"queue": name, **each.as_json("wait"), "longest": self.longest.get(name)}
                for name, each in self.queues.items()
            ],
            "points": [each.as_json() for each in self.points],
            "others": None
            if self.others is None
            else {"succeeded": self.others[0], "failed": self.others[1]},
            "marks": [
                {"at": texts.iso(each.at_ms), "text": each.text, "by": each.by}
                for each in self.marks
            ],
        }


Slots = Sequence[Mapping[str, Record]]


async def load(store: Store, period: Period, task: str | None = None) -> RunHistory:
    """Read it. A round trip for each twenty slots of a kind.

    Args:
        task: only what ran of this one; queues and what others did are left out then.
    """
    now_s = await store.time_us() // 1_000_000
    slots = period.grain.slots(now_s, period.slots)
    grain = period.grain
    ran, queues, samples, marks = await asyncio.gather(
        history.read(store, TASKS, grain, slots, task),
        _nothing(slots) if task else history.read(store, QUEUES, grain, slots),
        _nothing(slots) if task else history.read(store, history.SAMPLE, grain, slots),
        history.marks(store, slots[0] * 1000),
    )
    points = [
        _point(slots[n] * 1000, ran[n : n + period.together], samples[n : n + period.together])
        for n in range(0, len(slots), period.together)
    ]
    longest: dict[str, int] = {}
    for each in samples:
        for name, values in each.items():
            longest[name] = max(longest.get(name, 0), values[0])
    longest.pop("", None)
    total = RunStats(total_of(each.stats.record for each in points))
    others = _others(ran, samples)
    return RunHistory(points, total, _by_name(ran), _by_name(queues), longest, others, marks)


async def _nothing(slots: Sequence[int]) -> Slots:
    return [{} for _ in slots]


def _point(at_ms: int, ran: Slots, samples: Slots) -> Point:
    seen = [each for each in samples if "" in each]
    ages = [values[1] for each in seen for name, values in each.items() if name]
    waiting = max((each[""][history.WAITING] for each in seen), default=None)
    return Point(at_ms, _total(ran), waiting, max(ages, default=0) if seen else None)


def _total(slots: Slots) -> RunStats:
    return RunStats(total_of(record for slot in slots for record in slot.values()))


def _by_name(slots: Slots) -> dict[str, RunStats]:
    found: dict[str, list[Record]] = {}
    for slot in slots:
        for name, record in slot.items():
            found.setdefault(name, []).append(record)
    stats = {name: RunStats(total_of(records)) for name, records in found.items()}
    return dict(sorted(stats.items(), key=lambda pair: (-pair[1].runs, pair[0])))


def _others(ran: Slots, samples: Slots) -> tuple[int, int] | None:
    """From the first sample to the last one, each of when its slot began, less what was counted between them."""
    at = [n for n, each in enumerate(samples) if "" in each]
    if len(at) < 2:
        return None
    first, last = samples[at[0]][""], samples[at[-1]][""]
    own = _total(ran[at[0] : at[-1]])
    done = last[history.PROCESSED] - first[history.PROCESSED]
    failed = last[history.FAILED] - first[history.FAILED]
    more = done - (own.runs - own.failed), failed - (own.failed + own.retried)
    sure = [
        each if each > _SURE * max(of, 0) else 0
        for each, of in zip(more, (done, failed), strict=True)
    ]
    return max(sure[0], 0), max(sure[1], 0)
