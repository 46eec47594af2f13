"""Whether a KeyboardInterrupt in a task can be a user's Ctrl-C.

If the program has a SIGINT handler (`framework/process/signals.py`), it can't: then the task raised it
itself, and it is a failure like any other. Without one, Python raises it in whatever code is running, and
it must end the program.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_answered: list[None] = []  # one for each part of the program that handles SIGINT itself


@contextmanager
def answered_elsewhere() -> Iterator[None]:
    """Declare that Ctrl-C raises nothing within the block."""
    _answered.append(None)
    try:
        yield
    finally:
        _answered.pop()


def may_interrupt() -> bool:
    """Whether Ctrl-C may raise KeyboardInterrupt in a task."""
    return not _answered
