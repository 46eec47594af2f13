"""Iterates over a long list, page by page, while others push, pop and remove.

It does not rely on indices: if the list has shifted since the last page, it continues after the last item
it saw that is still there; equal items are told apart by those before them. So nothing is missed unless
more than a page of items was removed between two pages, or all of them are equal.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from resqpy.store.connection.client import Store

# Progress of long scans over a list or over all keys, for display.
#
# The watcher is stored in a context variable, so that no function between the command line and the store
# needs to pass it.
#
# Also the one scan over the keyspace, only for what has no index (locks, statistics). It visits every key of
# the database, so no worker ever does it (the leading scheduler looks for orphans in small steps of its own,
# a few times a day: `resqpy.store.repair.checkup`).

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


async def matching(
    store: Store, *prefixes: str, kind: str | None = "string"
) -> AsyncIterator[list[bytes]]:
    """Keys that begin with one of several prefixes, one scan step at a time, none twice.

    Args:
        kind: of this type; None: of any.
    """
    pattern = glob_literal(store.keys.prefix) + "*"
    wanted = tuple(prefix.encode() for prefix in prefixes)
    if len(prefixes) == 1:
        pattern = glob_literal(prefixes[0]) + "*"
    seen: set[bytes] = set()
    cursor, walk = b"0", await keyspace_walk(store)
    while True:
        of_type = () if kind is None else ("TYPE", kind)
        cursor, keys = await store.call(
            "SCAN", cursor, "MATCH", pattern, "COUNT", KEYS_PER_STEP, *of_type
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


PAGE = 500
_CONTEXT = 20  # items before a position by which it is recognized


@dataclass(frozen=True, slots=True)
class Item:
    """An item of a list and its current index.

    Attributes:
        key: of the list, where several are searched.
    """

    index: int
    raw: bytes
    key: str = ""


class Sweep:
    """One pass from the head of a list towards its tail.

    Args:
        start: the index to begin with.
        most: how many items are visited; None: the length of the list at the beginning.
        step: items per page.
    """

    def __init__(
        self, store: Store, key: str, *, start: int = 0, most: int | None = None, step: int = PAGE
    ) -> None:
        self._store = store
        self._key = key
        self._at = start
        self._left = most
        self._step = step
        self._seen: list[Item] = []  # the last page, and as much before it as needed
        self._page = 0
        self._walk: Progress | None = None

    async def page(self) -> list[Item]:
        """The next items; none at the end. One round trip, two if the list has shifted."""
        if self._left is None:
            [length] = await self._store.look([("LLEN", self._key)])
            self._left = int(length) - self._at
        if self._left <= 0:
            return []
        if self._walk is None:
            self._walk = Progress(self._key.removeprefix(self._store.keys.prefix), self._left)
        items = await self._read()
        self._walk.step(len(items))
        self._left -= len(items)
        self._at += len(items)
        self._seen = [*self._seen[-self._step :], *items]
        self._page = len(items)
        return items

    async def _read(self) -> list[Item]:
        stop = self._at + min(self._step, self._left or 0) - 1
        before = [item.raw for item in self._seen[-_CONTEXT:]]
        first = max(0, self._at - len(before))
        raws = await self._range(first, stop)
        if raws[: len(before)] == before:
            return _numbered(raws[len(before) :], self._at)
        return await self._read_shifted(stop)

    async def _read_shifted(self, stop: int) -> list[Item]:
        first = max(0, self._at - 2 * self._step)
        window = _numbered(await self._range(first, stop), first)
        there = {item.raw for item in window}
        self._seen = [item for item in self._seen if item.raw in there]
        known = _last_known(window, self._seen)
        self._at = first + known + 1
        return window[known + 1 :][: self._step]

    async def _range(self, start: int, stop: int) -> list[bytes]:
        [raws] = await self._store.look([("LRANGE", self._key, start, stop)])
        return list(raws)

    def removed(self, gone: set[int]) -> None:
        """Report which items of the last page (their indices) the caller removed."""
        before, page = self._seen[: -self._page], self._seen[-self._page :]
        kept = [item.raw for item in page if item.index not in gone]
        self._at -= len(page) - len(kept)
        self._seen = before + _numbered(kept, self._at - len(kept))


def _numbered(raws: list[bytes], first: int) -> list[Item]:
    return [Item(first + place, raw) for place, raw in enumerate(raws)]


def _last_known(window: list[Item], seen: list[Item]) -> int:
    """The position in the window of the last item that was seen; -1 if none is there.

    Items only move towards the head, so a seen item is not searched beyond its old position.
    """
    places: dict[bytes, list[int]] = {}
    for place, item in enumerate(window):
        places.setdefault(item.raw, []).append(place)
    for end in range(len(seen) - 1, -1, -1):
        item = seen[end]
        found = [p for p in places.get(item.raw, ()) if window[p].index <= item.index]
        if found:
            return max(found, key=lambda p: (_same_before(window, p, seen, end), p))
    return -1


def _same_before(window: list[Item], place: int, seen: list[Item], end: int) -> int:
    """How many items in a row are equal, going back from these two."""
    most = min(_CONTEXT, place + 1, end + 1)
    back = (n for n in range(most) if window[place - n].raw != seen[end - n].raw)
    return next(back, most)


async def every(store: Store, key: str, *, step: int = PAGE) -> AsyncIterator[bytes]:
    """All current items of a list, read one page at a time."""
    sweep = Sweep(store, key, step=step)
    while items := await sweep.page():
        for item in items:
            yield item.raw
