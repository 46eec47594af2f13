"""How far behind queues are: how long their jobs wait, how many come and go."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from resqpy.base.queue_age import QueueAge
from resqpy.diagnosis import texts
from resqpy.engine.inspect.inspector import Inspector
from resqpy.store import queue_ages

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
        if jobs and not self.known:
            return "?"
        return "-" if age is None else age_words(age, self.now_ms)

    def as_json(self, queue: str) -> dict[str, Any]:
        """For programs; None: not known, or no job waits."""
        age = self.by_queue.get(queue)
        if not self.known:
            return dict.fromkeys(_FACTS)
        if age is None:
            age = QueueAge(self.now_ms, 0, None, 0, "exact", 0, 0, 0.0, 0.0, counted=True)
        return age_json(age, self.now_ms)


async def ages(inspector: Inspector) -> QueueAges:
    """Read them. Two round trips."""
    found = await queue_ages.read(inspector.store)
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
