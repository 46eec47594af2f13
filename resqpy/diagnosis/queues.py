"""How far behind queues are: how long their jobs wait, how many come and go, and how many should run at once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from resqpy.base.errors import UsageError
from resqpy.base.keys import split_priority
from resqpy.base.queue_age import QueueAge
from resqpy.base.when import parse_duration
from resqpy.diagnosis import texts
from resqpy.engine.inspect.inspector import Inspector
from resqpy.engine.worker.queues import QueueNames
from resqpy.store import queue_ages
from resqpy.store.overview import is_paused

UNKNOWN = "how long jobs have waited is known only while a scheduler of resqpy leads"
_SIGNS = {"at_most": "≤ ", "at_least": "≥ ", "about": "~ "}
_FACTS = (
    "age_ms", "age_accuracy", "age_within_ms", "arrivals_s", "departures_s", "rates_complete", "drain_s",
)  # fmt: skip
_COARSE = 4  # an age that is known only to a quarter of itself is about so much


@dataclass(frozen=True, slots=True)
class QueueAges:
    """What the leader last published, and the time by Redis' clock.

    Attributes:
        known: whether a leader has looked within the last minute.
        by_queue: queues that have had jobs within the last ten minutes.
    """

    now_ms: int
    known: bool
    by_queue: Mapping[str, QueueAge]

    def oldest(self) -> tuple[str, int] | None:
        """The queue whose first job has waited longest, and its jobs."""
        since = {n: each.since_ms for n, each in self.by_queue.items() if each.since_ms is not None}
        first = min(since, key=since.__getitem__, default=None)
        return None if first is None else (first, self.by_queue[first].jobs)

    def words(self, queue: str, jobs: int) -> str:
        """How long the first of its jobs has waited: `3 m 10 s`, `≤ 2 s`; `-`: none waits; `?`: not known."""
        age = self.by_queue.get(queue)
        found = "-" if age is None else age_words(age, self.now_ms)
        # "?" also where all of its jobs are parked for a limit, which the leader does not look at
        return "?" if jobs and (not self.known or found == "-") else found

    def as_json(self, queue: str) -> dict[str, Any]:
        """For programs; None: not known, or no job waits."""
        age = self.by_queue.get(queue)
        if not self.known:
            return dict.fromkeys(_FACTS)
        if age is None:
            age = QueueAge(self.now_ms, 0, None, 0, "exact", 0, 0, 0.0, 0.0, counted=True)
        return age_json(age, self.now_ms)


async def ages(inspector: Inspector, names: Sequence[str] | None = None) -> QueueAges:
    """Read them. Two round trips.

    Args:
        names: only those of these queues.
    """
    found = await queue_ages.read(inspector.store, names)
    return QueueAges(await inspector.now_ms(), found is not None, found or {})


def age_words(age: QueueAge, now_ms: int) -> str:
    """How long the first job of a queue has waited."""
    age_ms = age.age_ms(now_ms)
    if age_ms is None:
        return "-"
    coarse = age.accuracy == "exact" and age.within_ms > max(age_ms // _COARSE, 1000)
    sign = "~ " if coarse else _SIGNS.get(age.accuracy, "")
    return f"{sign}{texts.duration(age_ms)}"


def rate_words(per_s: float, *, counted: bool) -> str:
    """Jobs a minute; `≥`: others may have come and gone unseen."""
    return f"{'' if counted else '≥ '}{per_s * 60:,.0f}"


def drain_words(age: QueueAge, now_ms: int) -> str:
    """When the queue is empty, if it goes on like this."""
    seconds = age.drain_s(now_ms)
    if not age.jobs:
        return "-"
    return "never" if math.isinf(seconds) else texts.duration(seconds * 1000)


def age_json(age: QueueAge, now_ms: int) -> dict[str, Any]:
    """For programs. `drain_s` is None where the queue does not get shorter."""
    arrivals, departures = age.rates(now_ms)
    drain_s = age.drain_s(now_ms)
    return {
        "age_ms": age.age_ms(now_ms),
        "age_accuracy": age.accuracy,
        "age_within_ms": age.within_ms,
        "arrivals_s": round(arrivals, 3),
        "departures_s": round(departures, 3),
        "rates_complete": age.counted,
        "drain_s": None if math.isinf(drain_s) else round(drain_s, 1),
    }


# How many jobs should run at once, for whoever starts and stops processes by it.


@dataclass(frozen=True, slots=True)
class Load:
    """What one queue asks for.

    Attributes:
        waiting, busy: jobs that wait, and that run, in all languages.
        age: what is known of those that wait; None: nothing.
        most: how many may run at once; None: there is no limit.
        paused: it gives no jobs.
    """

    waiting: int
    busy: int
    age: QueueAge | None = None
    most: int | None = None
    paused: bool = False


def desired(load: Load, target_ms: int, now_ms: int) -> tuple[int, str]:
    """How many jobs of a queue should run at once, so that none waits longer than a time; and why.

    Never fewer than run now: whoever stops processes by it must not stop those.
    """
    busy, waiting = load.busy, load.waiting
    if not waiting:
        return busy, "nothing waits"
    if load.paused:
        return busy, "paused"
    most = busy + waiting if load.most is None else min(load.most, busy + waiting)
    age = load.age or QueueAge(now_ms, 0, None, 0, "about", 0, 0, 0.0, 0.0, counted=False)
    age_ms, (come, go) = age.age_ms(now_ms), age.rates(now_ms)
    if age.counted and busy and go > _SLOWEST_PER_S:
        # A job takes busy ÷ go seconds: so many are needed for those that come, and for those that wait.
        wanted = math.ceil(busy / go * (come + waiting * 1000 / target_ms))
        why = f"{come:.2g} come and {go:.2g} go in a second"
    elif age_ms is not None and age_ms > target_ms:
        wanted = math.ceil(max(busy, 1) * age_ms / target_ms)
        why = f"the first waits for {age_words(age, now_ms)}"
    else:
        wanted = max(busy, 1)
        why = (
            "the first waits for less" if age_ms is not None else "how long they wait is not known"
        )
    if wanted > most:
        wanted = most
        why += ", but no more may run" if most == load.most else ", but there are no more"
    return max(wanted, busy), f"{texts.counted(waiting, 'job')} of it wait: {why}"


_TARGET = "30s"
_SLOWEST_PER_S = 1 / 600  # rates below it say nothing


def scale_args(query: str) -> tuple[list[str], int, int]:
    """What `scale` is asked: `queues=mail,bulk&target_latency=30s&per_process=10`.

    Raises:
        UsageError: one of them is not given, or is not what it should be.
    """
    pairs = parse_qsl(query, keep_blank_values=True)
    told = dict(pairs)
    if len(told) < len(pairs):
        twice = next(
            name for name, count in Counter(name for name, _ in pairs).items() if count > 1
        )
        raise UsageError(f"{twice}: it stands twice; name several queues with commas")
    if unknown := sorted(told.keys() - {"queues", "target_latency", "per_process"}):
        raise UsageError(
            f"unknown: {', '.join(unknown)}; there are queues, target_latency, per_process"
        )
    names = [each.strip() for each in told.get("queues", "").split(",") if each.strip()]
    if not names:
        raise UsageError("queues: name some, separated by commas; * is all: queues=mail,bulk")
    QueueNames(names)  # raises for what is none
    target_ms = parse_duration(told.get("target_latency", _TARGET))
    if target_ms < 1000:
        raise UsageError(f"target_latency: {told['target_latency']!r} is less than a second")
    per_process = told.get("per_process", "1")
    if not (per_process.isdecimal() and len(per_process) < 6 and 0 < int(per_process) <= 10_000):
        raise UsageError(f"per_process: {per_process!r} is not a number from 1 to 10,000")
    return names, target_ms, int(per_process)


async def scale(
    inspector: Inspector, wanted: Sequence[str], target_ms: int, per_process: int = 1
) -> dict[str, Any]:
    """How many jobs of some queues should run at once, and how many processes that takes. Some round trips.

    Args:
        wanted: as a worker's list of queues.
        target_ms: no job should wait longer than this.
        per_process: how many jobs a process runs at once.
    """
    details, seen = await inspector.details(), await ages(inspector)
    paused, limits = await inspector.paused_queues(), await inspector.running_limits()
    all_paused = await is_paused(inspector.store)
    busy = Counter(work.queue for work in details["workers"].values() if work is not None)
    names = dict.fromkeys([*details["queues"], *(name for name in busy if name is not None)])
    found: dict[str, Any] = {}
    total = running = waiting = 0
    chosen = QueueNames(wanted)
    fitting = {*chosen.resolve(names), *chosen.names}
    for name in names:
        if name not in fitting:
            continue
        limit = limits.get(split_priority(name)[0])
        load = Load(
            int(details["queues"].get(name, 0)),
            busy[name],
            seen.by_queue.get(name),
            None if limit is None else limit.most,
            all_paused or name in paused,
        )
        number, why = desired(load, target_ms, seen.now_ms)
        total, running, waiting = total + number, running + load.busy, waiting + load.waiting
        found[name] = {"desired": number, "busy": load.busy, "waiting": load.waiting, "why": why}
    of_most = max(found.items(), key=lambda pair: pair[1]["desired"], default=None)
    why = "no such queue" if of_most is None else f"{of_most[0]}: {of_most[1]['why']}"
    return {
        "desired": total,
        "processes": math.ceil(total / per_process),
        "busy": running,
        "waiting": waiting,
        "why": why,
        "queues": found,
    }
