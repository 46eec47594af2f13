"""Progress of long scans over a list or over all keys, for display.

The watcher is stored in a context variable, so that no function between the command line and the store
needs to pass it.

Also the one scan over the keyspace, only for what has no index (locks, statistics). It visits every key of
the database, so no worker ever does it (the leading scheduler looks for orphans in small steps of its own,
a few times a day: `resqpy.store.repair.orphans`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from resqpy.store.connection.client import Store

Watcher = Callable[["Progress"], None]

_watcher: ContextVar[Watcher | None] = ContextVar("resqpy_walk_watcher", default=None)


@dataclass(slots=True)
class Progress:
    """Progress of one scan.

    Attributes:
        what: what is scanned.
        total: number of entries when it began; others may come and go.
        done: number of entries visited.
    """

    what: str
    total: int
    done: int = 0

    def step(self, entries: int) -> None:
        """Count more entries as visited."""
        self.done += entries
        watcher = _watcher.get()
        if watcher is not None:
            watcher(self)


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Call a watcher at each step of the scans in this block."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


def is_watched() -> bool:
    """Whether anybody watches; if not, totals are not needed."""
    return _watcher.get() is not None


KEYS_PER_STEP = 2000  # one or two milliseconds of the server


async def matching(store: Store, *prefixes: str) -> AsyncIterator[list[bytes]]:
    """Keys that begin with one of several prefixes, one scan step at a time, none twice."""
    pattern = glob_literal(store.keys.prefix) + "*"
    wanted = tuple(prefix.encode() for prefix in prefixes)
    if len(prefixes) == 1:
        pattern = glob_literal(prefixes[0]) + "*"
    seen: set[bytes] = set()
    cursor, walk = b"0", await keyspace_walk(store)
    while True:
        cursor, keys = await store.call(
            "SCAN", cursor, "MATCH", pattern, "COUNT", KEYS_PER_STEP, "TYPE", "string"
        )
        walk.step(KEYS_PER_STEP)
        fresh = [key for key in keys if key.startswith(wanted) and key not in seen]
        seen.update(fresh)
        if fresh:
            yield fresh
        if cursor == b"0":
            return


async def keyspace_walk(store: Store) -> Progress:
    """Progress of a scan over all keys that begins now."""
    return Progress("keys", int(await store.call("DBSIZE")) if is_watched() else 0)


def glob_literal(text: str) -> str:
    """A text as a glob pattern that matches only itself."""
    return "".join(f"\\{sign}" if sign in "*?[]\\^-" else sign for sign in text)
