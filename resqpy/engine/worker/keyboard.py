"""Whether a KeyboardInterrupt in a task can be somebody's Ctrl-C.

Where a program has answered SIGINT in another way (`framework/process/signals.py`), it can't: then the task raised
it itself, and it is a failure like any other. Where nobody did, Python raises it in whatever runs, and
it must end the program.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_answered: list[None] = []  # one for each program part that answers SIGINT by itself


@contextmanager
def answered_elsewhere() -> Iterator[None]:
    """Say that Ctrl-C raises nothing while this lasts."""
    _answered.append(None)
    try:
        yield
    finally:
        _answered.pop()


def may_interrupt() -> bool:
    """Whether Ctrl-C may raise KeyboardInterrupt in a task."""
    return not _answered
