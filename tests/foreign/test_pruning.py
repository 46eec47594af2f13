"""What Ruby's workers were seen to remove when one starts (resque 3.0.0; recorded), and PHP's by its sources: none
of ours that lives is among it.
"""

from __future__ import annotations

import pytest

from resqpy.engine.options import WorkerOptions
from resqpy.engine.worker.identity import worker_id

# The host part of an id, seconds since its heartbeat; whether a Ruby worker that starts on HOST removes it.
SEEN: list[tuple[str, float | None, bool]] = [
    ("HOST", None, True),
    ("HOST", 0, True),
    ("HOST", 299, True),
    ("HOST", 301, True),
    ("HOST+1", None, False),
    ("HOST+1", 0, False),
    ("HOST+1", 301, True),
    ("otherhost", None, False),
    ("otherhost", 0, False),
    ("otherhost", 301, True),
]


def ruby_removes(host: str, beat_s: float | None) -> bool:
    """Its rule, where the pid is that of no Ruby worker."""
    return host == "HOST" or (beat_s is not None and beat_s > 300)


def php_removes(host: str) -> bool:
    """Its rule: it knows no heartbeat."""
    return host == "HOST"


@pytest.mark.parametrize(("host", "beat_s", "removed"), SEEN)
def test_the_rule_is_what_was_seen(host: str, beat_s: float | None, removed: bool) -> None:
    """For each kind of worker."""
    assert ruby_removes(host, beat_s) is removed


def test_none_of_ours_that_lives_is_removed() -> None:
    """A worker that starts on the same host leaves it alone, as long as it beats at all."""
    host = worker_id(1, "abcd1234", "q", "HOST").host

    assert not ruby_removes(host, None)
    assert not any(ruby_removes(host, beats * WorkerOptions.heartbeat_s) for beats in range(30))
    assert not php_removes(host)
