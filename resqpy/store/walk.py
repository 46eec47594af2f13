"""How far a long walk over a list or over all keys is, for whoever shows it to a person.

Who watches is known to the context, so that nothing between the command line and the store hands it on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

Watcher = Callable[["Walk"], None]

_watcher: ContextVar[Watcher | None] = ContextVar("resqpy_walk_watcher", default=None)


@dataclass(slots=True)
class Walk:
    """One walk.

    Attributes:
        what: the list, or what else is walked over.
        total: entries in sight when it began; others may come and go.
        done: entries that are behind it.
    """

    what: str
    total: int
    done: int = 0

    def step(self, entries: int) -> None:
        """Say that so many more entries are behind it."""
        self.done += entries
        watcher = _watcher.get()
        if watcher is not None:
            watcher(self)


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Let somebody be told of each step of the walks in this block."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


def is_watched() -> bool:
    """Whether anybody is told; who is not needs no totals."""
    return _watcher.get() is not None
