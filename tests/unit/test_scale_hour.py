"""An hour of an autoscaler that follows `GET /scale`: never fewer than are busy, and nobody waits long."""

from __future__ import annotations

import math
import random
from collections import deque

import pytest

from resqpy.base.queue_age import QueueAge, QueueFlow, QueueLook
from resqpy.diagnosis.queues import Load, desired

TARGET_S, JOB_S, PER_PROCESS = 30, 4, 5
STARTS_S, LOOKS_S = 20, 15  # a process is up after; the autoscaler asks every

# Jobs a second, for so many seconds each.
DAYS = {
    "steady": [(3.0, 3600)],
    "a burst": [(0.5, 900), (15.0, 300), (0.5, 2400)],
    "bursts and nights": [(0.0, 600), (8.0, 300), (0.0, 600), (2.0, 900), (12.0, 300), (0.0, 900)],
    "one job a minute": [(1 / 60, 3600)],
}


class Hour:
    """A queue, processes that take from it first in first out, and who starts and stops them.

    Attributes:
        waited_s: of each job that was begun.
        most: slots at a time.
    """

    def __init__(self) -> None:
        self.now_s = 0
        self.waiting: deque[int] = deque()
        self.ends: list[int] = []  # of the jobs that run
        self.up: list[int] = []  # when each process takes its first job
        self.waited_s: list[int] = []
        self.most = 0
        self._flow = QueueFlow(None, known=True, at_ms=0)
        self._age: QueueAge | None = None
        self._looked_at, self._came = 0, 0

    def second(self, came: int) -> tuple[int, int]:
        """One second goes by; what the signal says now, and how many are busy."""
        self.now_s += 1
        self.waiting.extend([self.now_s] * came)
        self.ends = [end for end in self.ends if end > self.now_s]
        slots = PER_PROCESS * sum(at <= self.now_s for at in self.up)
        gone = 0
        while self.waiting and len(self.ends) < slots:
            self.waited_s.append(self.now_s - self.waiting.popleft())
            self.ends.append(self.now_s + JOB_S)
            gone += 1
        self.most = max(self.most, slots)
        before, now_ms = self._looked_at, self.now_s * 1000
        same = before > 0 and not gone
        seen = QueueLook(len(self.waiting), before, came, same_head=same, weak=False)
        if came or gone or self._age is None:
            self._age = self._flow.look(seen, now_ms, now_ms - 1000)
        self._looked_at = len(self.waiting)
        load = Load(len(self.waiting), len(self.ends), self._age)
        return desired(load, TARGET_S * 1000, now_ms)[0], len(self.ends)

    def scale(self, number: int) -> None:
        """As an autoscaler does: the newest processes go first, and none that is needed for what runs."""
        wanted = math.ceil(number / PER_PROCESS)
        while len(self.up) < wanted:
            self.up.append(self.now_s + STARTS_S)
        while len(self.up) > max(wanted, math.ceil(len(self.ends) / PER_PROCESS)):
            self.up.remove(max(self.up))


@pytest.mark.parametrize("day", DAYS)
def test_an_hour(day: str) -> None:
    """From no process at all, and back to none where nothing comes any more."""
    hour, chance, wanted = Hour(), random.Random(day), 0
    for rate, seconds in DAYS[day]:
        for _ in range(seconds):
            came = int(rate) + (chance.random() < rate % 1)
            wanted, busy = hour.second(came)
            assert wanted >= busy
            if hour.now_s % LOOKS_S == 0:
                hour.scale(wanted)

    waited = sorted(hour.waited_s)
    needed = max(rate for rate, _ in DAYS[day]) * JOB_S
    assert len(waited) > 0
    assert waited[len(waited) // 2] <= TARGET_S
    assert waited[-1] <= 3 * TARGET_S
    assert hour.most <= max(5 * needed, PER_PROCESS)
    if DAYS[day][-1][0] == 0.0:
        assert (wanted, hour.up, hour.waiting) == (0, [], deque())
