"""The rule of the task processors, as a table and in a simulated process."""

from __future__ import annotations

import itertools

import pytest

from resqpy import MultiWorker, ScalingOptions
from resqpy.base.errors import UsageError
from resqpy.engine.worker.multi_worker import Memory, Reading, Sampler, decide

OPTIONS = ScalingOptions(min_task_processors=2, max_task_processors=20)
CALM = Memory()
SEEN = Memory(ceiling=10, patience=3, last_patience=10)


@pytest.mark.parametrize(
    ("reading", "memory", "verb", "count", "words"),
    [
        (Reading(1, 0, 50), CALM, "+", 1, "fewer than the minimum"),
        (Reading(5, 5, 1), CALM, "+", 1, "5.0 of 5 busy"),
        (Reading(5, 5, 1), Memory(step=4), "+", 8, "busy"),  # steps double
        (Reading(5, 4.5, 1), Memory(step=4), "+", 1, "busy"),  # but only if all are busy
        (Reading(18, 18, 1), Memory(step=4), "+", 2, "busy"),  # no more than the most
        (Reading(20, 20, 1), CALM, "x", 0, "20.0 of 20"),
        (Reading(5, 3, 1), CALM, "x", 0, "3.0 of 5"),  # between: all is well
        (Reading(5, 2, 1), CALM, "-", 1, "2.0 of 5"),
        (Reading(15, 0, 1), Memory(step=-4), "-", 8, "0.0 of 15"),
        (Reading(3, 0, 1), Memory(step=-4), "-", 1, "busy"),  # no fewer than the least
        (Reading(2, 0, 1), CALM, "x", 0, "busy"),
        (Reading(5, 5, 11), CALM, "-", 1, "11.0 ms late"),
        (Reading(16, 16, 11), Memory(step=8), "-", 8, "late"),  # the last step is taken back
        (Reading(2, 2, 500), CALM, "x", 0, "this is the minimum"),
        (Reading(9, 9, 1), SEEN, "x", 0, "10 blocked the loop before"),
        (Reading(5, 5, 1), SEEN, "+", 1, "busy"),
        (Reading(9, 9, 1), Memory(10, 1, 10), "+", 1, "busy"),  # patience is at its end
    ],
)
def test_the_rule(reading: Reading, memory: Memory, verb: str, count: int, words: str) -> None:
    """Each situation has its verb, its number of steps, and a reason that says why."""
    decision = decide(reading, OPTIONS, memory)
    assert (decision.verb, decision.count) == (verb, count)
    assert words in decision.reason


def test_a_size_that_blocked_is_tried_again_ever_later() -> None:
    """The patience doubles each time, up to a limit."""
    memory, waits = CALM, []
    for _ in range(6):
        memory = decide(Reading(5, 5, 50), OPTIONS, memory).memory
        waits.append(memory.patience)
        memory = Memory(None, 0, memory.last_patience)
    assert waits == [10, 20, 40, 80, 160, 160]


def simulate(
    options: ScalingOptions, checks: int, *, demand: float, compute_share: float
) -> list[int]:
    """The size over time of a process with so much work at once, part of which is computing: the
    loop is late by the computing of all slots that are busy.
    """
    size, memory, curve = max(1, options.min_task_processors), CALM, []
    for _ in range(checks):
        busy = min(float(size), demand)
        decision = decide(Reading(size, busy, busy * compute_share), options, memory)
        memory = decision.memory
        size += {"+": decision.count, "-": -decision.count}.get(decision.verb, 0)
        curve.append(size)
    return curve


def test_jobs_that_wait_reach_the_most() -> None:
    """A hundred processors within five seconds, and they stay."""
    curve = simulate(ScalingOptions(1, 100), 40, demand=1e9, compute_share=0)
    assert curve.index(100) < 10
    assert set(curve[10:]) == {100}


def test_jobs_that_compute_stay_at_the_least() -> None:
    """One slot that blocks the loop is not joined by others."""
    assert set(simulate(ScalingOptions(1, 100), 40, demand=1e9, compute_share=50)) == {1}
    curve = simulate(ScalingOptions(4, 100), 40, demand=1e9, compute_share=50)
    assert set(curve) == {4}


def test_mixed_jobs_settle() -> None:
    """Where the loop bears 33 slots, it stays near them, and seldom tries for more."""
    options = ScalingOptions(1, 100, max_event_loop_delay_ms=10)
    curve = simulate(options, 400, demand=1e9, compute_share=0.3)
    late = curve[100:]
    assert max(late) <= 48
    assert sum(late) / len(late) > 20
    blocked = sum(size > 33 for size in late)
    assert blocked / len(late) < 0.05
    changes = sum(a != b for a, b in itertools.pairwise(late))
    assert changes / len(late) < 0.25


def test_it_follows_the_demand_down() -> None:
    """With work for ten it keeps a few more than ten, and without any the least."""
    options = ScalingOptions(1, 100)
    curve = simulate(options, 60, demand=10, compute_share=0)
    assert 11 <= curve[-1] <= 20
    assert len(set(curve[-20:])) == 1
    assert simulate(options, 60, demand=0, compute_share=0)[-1] == 1


def test_the_sampler_tells_quartile_and_average() -> None:
    """One late timer is not the whole truth, many are."""
    sampler = Sampler(lambda: 3, 0.05)
    sampler._delays_ms, sampler._busy_seen = [0.1] * 9 + [80.0], [0, 10]
    assert sampler.read() == (0.1, 5)
    sampler._delays_ms = [80.0] * 5 + [0.1] * 5
    assert sampler.read()[0] == 80.0
    assert sampler.read() == (0.0, 3)


@pytest.mark.parametrize(("least", "most"), [(-1, 5), (5, 4), (0, 0)])
def test_numbers_that_make_no_sense_are_refused(least: int, most: int) -> None:
    """The message says what is wanted."""
    with pytest.raises(UsageError, match="min_task_processors <= max_task_processors"):
        MultiWorker("redis://x", {}, scaling=ScalingOptions(least, most))
