"""How many jobs should run at once, so that none waits for too long."""

from __future__ import annotations

import random

import pytest

from resqpy.base.errors import UsageError
from resqpy.base.queue_age import QueueAge, QueueFlow, QueueLook
from resqpy.diagnosis.queues import Load, desired, scale_args

NOW_MS, TARGET_MS = 1_790_000_000_000, 30_000


def known(age_ms: int, come: float = 0.0, go: float = 0.0, *, counted: bool = True) -> QueueAge:
    """What a leader has published just now."""
    return QueueAge(NOW_MS, 1, NOW_MS - age_ms, 1000, "exact", 0, 0, come, go, counted)


@pytest.mark.parametrize(
    ("load", "number"),
    [
        (Load(0, 0), 0),
        (Load(0, 7), 7),
        (Load(5, 0), 1),  # nothing is known
        (Load(5, 3), 3),
        (Load(500, 0, known(1_000)), 1),
        (Load(500, 0, known(90_000)), 3),  # three times too old
        (Load(500, 4, known(90_000)), 12),
        (Load(3, 4, known(3_000_000)), 7),  # there are no more
        (Load(500, 4, known(90_000), most=6), 6),
        (Load(500, 8, known(90_000), most=6), 8),  # a limit that was lowered
        (Load(500, 4, known(90_000), paused=True), 4),
        (Load(600, 10, known(1_000, come=10, go=10)), 30),  # a job takes a second: 10 + 600 ÷ 30
        (Load(600, 10, known(1_000, come=2, go=20)), 11),  # half a second: 1 + 10
        (Load(30, 10, known(1_000, come=1, go=20)), 10),  # never below what runs
        (Load(600, 10, known(90_000, come=10, go=10, counted=False)), 30),  # rates that are not all
    ],
)
def test_the_number(load: Load, number: int) -> None:
    """Of a queue."""
    assert desired(load, TARGET_MS, NOW_MS)[0] == number


def test_an_hour_is_scaled_and_never_below_what_is_busy() -> None:
    """A simulation in which load comes and goes, and processors follow the advice a minute late."""
    rates, flow = random.Random(3), QueueFlow(None, known=True, at_ms=NOW_MS)
    waiting: list[int] = []
    running: list[int] = []  # when each ends
    processors, rate, worst_ms, asked, age = 0, 0, 0, [0] * 60, None
    for second in range(1, 3601):
        now_ms = NOW_MS + second * 1000
        if second % 300 == 1:
            rate = rates.choice([0, 1, 5, 20])
        before = len(waiting)
        waiting += [now_ms] * rate
        running = [each for each in running if each > second]
        while waiting and len(running) < processors:
            worst_ms = max(worst_ms, now_ms - waiting.pop(0))
            running.append(second + rates.choice([1, 2, 3]))
        if waiting or before:
            age = flow.look(
                QueueLook(len(waiting), before, rate, same_head=False, weak=False),
                now_ms,
                now_ms - 1000,
            )
        load = Load(len(waiting), len(running), age)
        number, why = desired(load, TARGET_MS, now_ms)
        assert number >= load.busy, why
        assert number >= bool(load.waiting or load.busy)
        asked.append(number)
        processors = max(asked[-60], len(running))  # a process that is at work is not stopped

    assert all(3600_000 + NOW_MS - each < 4 * TARGET_MS for each in waiting)
    assert worst_ms < 4 * TARGET_MS


def test_what_is_asked() -> None:
    """As a query; what is wrong is named."""
    assert scale_args("queues=mail,%20bulk*&target_latency=2m&per_process=10") == (
        ["mail", "bulk*"],
        120_000,
        10,
    )
    assert scale_args("queues=*") == (["*"], 30_000, 1)
    for query, words in (
        ("", "queues"),
        ("queues=,", "queues"),
        ("queues=a&target_latency=soon", "soon"),
        ("queues=a&target_latency=500", "500"),
        ("queues=a&per_process=0", "per_process"),
        (f"queues=a&per_process={'9' * 5000}", "per_process"),
        (f"queues=a&target_latency={'9' * 5000}s", "thousand years"),
        (f"queues=a&target_latency={'9' * 15}d", "thousand years"),
        ("queue=a", "queue"),
        ("queues=a&queues=b", "queues: it stands twice"),
        ("queues=a%3D0", "weight"),
    ):
        with pytest.raises(UsageError, match=words):
            scale_args(query)
