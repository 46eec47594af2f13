"""How long jobs wait in a queue, and how many come and go, without any time in the jobs.

Looks at the queue, a second apart, say how many jobs have come since the last look and how many are there.
These sums are a curve over time; the first job of the queue is the one after all that have gone, and it came
when the curve reached it. Whoever pushes and takes: it works for jobs of every language.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import Any, Literal

from resqpy.base import codec

# exact: within `within_ms`. at_most: jobs can't be told from each other, so the first may be younger.
# at_least: the jobs were there before anybody looked. about: jobs were put back, or removed from the middle.
Accuracy = Literal["exact", "at_most", "at_least", "about"]
Came = (
    int | str
)  # so many; `all`: those before the mark have gone with it; `far`, `unknown`, `new`: not known

_RATE_MS = 30_000  # rates are of about the last half minute: a bulk of jobs comes once
_MOST_POINTS = 256  # of a curve: the last two minutes to a second, the rest coarser


@dataclass(frozen=True, slots=True)
class QueueAge:
    """What the leader last published of a queue.

    Attributes:
        at_ms: when it looked, by Redis' clock; nothing has changed since.
        jobs: so many wait.
        since_ms: when the first of them came; None: none waits.
        within_ms: that is true to so many milliseconds.
        accuracy: whether it can be known.
        arrived, left: all that have come and gone since a leader first looked.
        arrivals, departures: jobs a second, of about the last half minute, at that time.
        counted: whether these are all: what comes and goes between two looks at an empty queue is not seen.
    """

    at_ms: int
    jobs: int
    since_ms: int | None
    within_ms: int
    accuracy: Accuracy
    arrived: int
    left: int
    arrivals: float
    departures: float
    counted: bool

    def age_ms(self, now_ms: int) -> int | None:
        """How long the first job has waited; None: none waits."""
        return None if self.since_ms is None else max(now_ms - self.since_ms, 0)

    def rates(self, now_ms: int) -> tuple[float, float]:
        """Arrivals and departures a second, of about the last half minute."""
        fade = math.exp(-max(now_ms - self.at_ms, 0) / _RATE_MS)
        return self.arrivals * fade, self.departures * fade

    def drain_s(self, now_ms: int) -> float:
        """Seconds until it is empty, if it goes on like this; infinite: it does not get shorter."""
        arrivals, departures = self.rates(now_ms)
        shrinks = departures - arrivals
        return 0.0 if not self.jobs else self.jobs / shrinks if shrinks > 1e-6 else math.inf

    def text(self) -> bytes:
        """As it is published."""
        return codec.encode_text(
            {
                "at": self.at_ms,
                "jobs": self.jobs,
                "since": self.since_ms,
                "within": self.within_ms,
                "accuracy": self.accuracy,
                "arrived": self.arrived,
                "left": self.left,
                "arrivals": round(self.arrivals, 4),
                "departures": round(self.departures, 4),
                "counted": self.counted,
            }
        )

    @classmethod
    def read(cls, text: bytes) -> QueueAge | None:
        """What was published; None: it can't be read."""
        told = codec.decode_lenient(text)
        try:
            return cls(
                int(told["at"]),
                int(told["jobs"]),
                None if told["since"] is None else int(told["since"]),
                int(told["within"]),
                _accuracy(told["accuracy"]),
                int(told["arrived"]),
                int(told["left"]),
                float(told["arrivals"]),
                float(told["departures"]),
                bool(told["counted"]),
            )
        except (TypeError, KeyError, ValueError, OverflowError):
            return None


def _accuracy(told: Any) -> Accuracy:
    return told if told in ("exact", "at_most", "at_least") else "about"


@dataclass(frozen=True, slots=True)
class QueueLook:
    """What a look at a queue has found.

    Attributes:
        length: jobs that wait.
        before: how many did at the last look; None: not known.
        came: how many have come since; or why that is not known.
        same_head: the first job is certainly still the first.
        weak: the next look can't tell what has come.
    """

    length: int
    before: int | None
    came: Came
    same_head: bool
    weak: bool


class QueueFlow:
    """What comes and goes in one queue.

    Args:
        age: what another leader had published; None: the queue was empty, or nobody has looked.
        known: whether anybody has looked.
        at_ms: when that was.
    """

    def __init__(self, age: QueueAge | None, *, known: bool, at_ms: int) -> None:
        self._at_ms = self.changed_ms = at_ms
        self.length: int | None = age.jobs if age else 0 if known else None
        self._came = age.arrived if age else 0
        self._gone = age.left if age else 0
        self._arrivals, self._departures = age.rates(at_ms) if age else (0.0, 0.0)
        self._counted = age.counted if age else True
        self._within_ms = age.within_ms if age else 0
        self._curve: list[tuple[int, int]] = []
        self._doubt: tuple[int, Accuracy] = (0, "exact")  # until so many have gone
        if (
            age is not None and age.since_ms is not None
        ):  # those behind the first came evenly, for all we know
            self._curve = [(age.since_ms, self._gone + 1), (age.at_ms, self._came)]
            how: Accuracy = age.accuracy if age.accuracy != "exact" else "about"
            if age.jobs > 1 or how != "about":
                self._doubt = (self._came, how)

    def look(self, seen: QueueLook, now_ms: int, last_ms: int) -> QueueAge:
        """Take in what a look has found.

        Args:
            last_ms: the time of the last look, when nothing had changed since what is known.
        """
        came, gone = self._moved(seen)
        start = self._came
        self._came += came
        self._gone = max(self._gone + gone, 0)
        self._came = (
            self._gone + seen.length
        )  # the sums and the length agree, whatever was put back
        if not seen.length:
            self._curve.clear()
        elif self._came > start:
            if not self._curve or self._curve[-1][0] < last_ms:
                self._curve.append((last_ms, start))
            self._curve.append((now_ms, self._came))
            self._thin()
        if seen.weak and seen.length:
            self._doubt_all("at_most")
        self._rate(max(came, 0), max(gone, 0), now_ms)
        self.length = seen.length
        return self._age(now_ms)

    def _moved(self, seen: QueueLook) -> tuple[int, int]:
        """How many have come and gone; jobs that were put back at the head have gone the other way."""
        before, length = self.length, seen.length
        if before is None:  # how long these have waited is not known
            self._doubt_all("at_least", length)
            self._counted = False
            return length, 0
        if seen.before is not None and seen.before != before and isinstance(seen.came, int):
            self._doubt_all("about", length - before)  # there was a look of which we don't know
            self._counted = False
            return max(length - before, 0), max(before - length, 0)
        if isinstance(seen.came, int) and seen.came >= 0:
            gone = before + seen.came - length
            if gone < 0 or (gone and seen.same_head):
                self._doubt_all("about")
            self._counted = True
            return seen.came, gone
        self._counted = False
        emptied = seen.came == "all" and not (seen.same_head and before)
        if emptied or not before:
            return length, before
        if seen.came == "far" and seen.same_head and length >= before:
            return length - before, 0
        self._doubt_all("at_most" if seen.came in ("unknown", "far") else "about", length - before)
        return max(length - before, 0), max(before - length, 0)

    def _doubt_all(self, how: Accuracy, more: int = 0) -> None:
        """The age is not exact until all that wait, and so many more, have gone."""
        until, was = self._doubt
        kept = how if self._gone >= until or was == how else "about"
        self._doubt = (max(self._came + max(more, 0), until), kept)

    def _rate(self, came: int, gone: int, now_ms: int) -> None:
        passed_ms = max(now_ms - self._at_ms, 1)
        fade = math.exp(-passed_ms / _RATE_MS)
        per_s = 1000 / passed_ms
        self._arrivals = self._arrivals * fade + came * per_s * (1 - fade)
        self._departures = self._departures * fade + gone * per_s * (1 - fade)
        self._at_ms = self.changed_ms = now_ms

    def _thin(self) -> None:
        """Of the older half of a long curve every second point, and none before the first job."""
        first = bisect_left(self._curve, self._gone + 1, key=lambda point: point[1])
        del self._curve[: max(first - 2, 0)]
        if len(self._curve) > _MOST_POINTS:
            del self._curve[1 : _MOST_POINTS // 2 : 2]

    def _age(self, now_ms: int) -> QueueAge:
        since_ms, within_ms = self._first()
        until, how = self._doubt
        return QueueAge(
            now_ms,
            self.length or 0,
            since_ms,
            within_ms,
            how if self.length and self._gone < until else "exact",
            self._came,
            self._gone,
            self._arrivals,
            self._departures,
            self._counted,
        )

    def _first(self) -> tuple[int | None, int]:
        """When the first job came, and how exactly that is known."""
        if not self.length or not self._curve:
            return None, 0
        wanted = self._gone + 1
        at = bisect_left(self._curve, wanted, key=lambda point: point[1])
        if at == 0:
            return self._curve[0][0], self._within_ms
        at = min(at, len(self._curve) - 1)
        (start_ms, before), (end_ms, after) = self._curve[at - 1], self._curve[at]
        share = (wanted - before) / max(after - before, 1)
        self._within_ms = end_ms - start_ms
        return start_ms + round(share * (end_ms - start_ms)), self._within_ms
