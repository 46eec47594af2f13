"""When a Ruby worker counts as dead."""

from __future__ import annotations

import pytest

from resqpy.engine.scheduler.foreign_care import PRUNE_AFTER_MS, RubyPulse

MINUTE_MS = 60_000


def watch(pulse: RubyPulse, period_ms: int, until_ms: int, *, first_ms: int = 0) -> list[int]:
    """Look once a minute at a worker that beats with a period from a time on; when it counts as dead."""
    dead = []
    for now_ms in range(0, until_ms, MINUTE_MS):
        beat_ms = first_ms + (now_ms - first_ms) // period_ms * period_ms
        pulse.note({"w": beat_ms}, now_ms)
        if pulse.silence_ms("w", now_ms):
            dead.append(now_ms)
    return dead


@pytest.mark.parametrize("period_min", [1, 4, 6, 9, 10])
@pytest.mark.parametrize("first_min", range(-10, 1))
def test_a_live_worker_is_never_dead(period_min: int, first_min: int) -> None:
    """However seldom it beats, up to twice Ruby's prune interval, and whenever the watching begins."""
    pulse = RubyPulse()

    found = watch(pulse, period_min * MINUTE_MS, 120 * MINUTE_MS, first_ms=first_min * MINUTE_MS)

    assert found == []


def test_what_the_shop_says_counts() -> None:
    """From the first look on; and what its beats show counts more."""
    pulse = RubyPulse(prune_after_ms=15 * MINUTE_MS)

    assert watch(pulse, 14 * MINUTE_MS, 120 * MINUTE_MS) == []
    pulse.note({"x": 0}, 16 * MINUTE_MS)
    assert pulse.silence_ms("x", 16 * MINUTE_MS) == 0  # five of the 14 minutes are not over
    assert pulse.silence_ms("x", 71 * MINUTE_MS) == 71 * MINUTE_MS


def test_a_worker_that_was_seen_to_beat_is_dead_soon() -> None:
    """After Ruby's five minutes; and so are others, once the rhythm is known."""
    pulse = RubyPulse()
    for now_ms in (0, MINUTE_MS, 2 * MINUTE_MS):
        pulse.note({"w": now_ms, "dead": -10 * MINUTE_MS}, now_ms)

    assert pulse.silence_ms("dead", 2 * MINUTE_MS) == 12 * MINUTE_MS
    assert pulse.silence_ms("w", 2 * MINUTE_MS + PRUNE_AFTER_MS) == 0
    assert pulse.silence_ms("w", 3 * MINUTE_MS + PRUNE_AFTER_MS) == 6 * MINUTE_MS
    assert pulse.silence_ms("nobody", 10**9) == 0


def test_a_worker_of_which_nothing_is_known() -> None:
    """It is watched for ten minutes."""
    pulse = RubyPulse()
    pulse.note({"w": -PRUNE_AFTER_MS}, 0)

    assert pulse.silence_ms("w", 2 * PRUNE_AFTER_MS - 1) == 0
    assert pulse.silence_ms("w", 2 * PRUNE_AFTER_MS) == 3 * PRUNE_AFTER_MS
