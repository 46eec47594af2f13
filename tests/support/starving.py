"""A process that gets no more of what it needs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_more_threads() -> Iterator[None]:
    """The system refuses to start any, as where a user may have no more of them."""
    before = threading.stack_size(1 << 44)  # more than there is
    try:
        yield
    finally:
        threading.stack_size(before)
