"""The guard that gives each test its own logs."""

from __future__ import annotations

import io
import logging

import structlog

from tests.support.log_state import logs_as_before


def test_logs_are_as_before() -> None:
    """A handler that writes to a test's stream is gone with it, and structlog's own way is back."""
    root, redis = logging.getLogger(), logging.getLogger("redis")
    before = (root.handlers[:], root.level, redis.level)

    with logs_as_before():
        structlog.configure(processors=[])
        root.addHandler(logging.StreamHandler(io.StringIO()))
        root.setLevel(logging.CRITICAL)
        redis.setLevel(logging.CRITICAL)

    assert (root.handlers, root.level, redis.level) == before
    assert not structlog.is_configured()
