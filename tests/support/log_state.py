"""What a test that sets up logs leaves in the interpreter."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

_NAMES = (None, "asyncio", "redis")  # the loggers that `framework/logs/log.py` touches


@contextmanager
def logs_as_before() -> Iterator[None]:
    """Leave structlog as it comes, and the standard library's handlers and levels as they were."""
    root = logging.getLogger()
    handlers = root.handlers[:]
    levels = [(logging.getLogger(name), logging.getLogger(name).level) for name in _NAMES]
    try:
        yield
    finally:
        structlog.reset_defaults()
        root.handlers[:] = handlers
        for logger, level in levels:
            logger.setLevel(level)
