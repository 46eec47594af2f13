"""The locks of the plugins, `lock:…` and `workerslock:…`. They have no index, so listing them scans."""

from __future__ import annotations

from collections.abc import AsyncIterator

from resqpy.store.connection.client import Store
from resqpy.store.queues import decode_name
from resqpy.store.walk import matching

_KINDS = ("lock:", "workerslock:")


async def _pages(store: Store, *kinds: str) -> AsyncIterator[dict[str, str]]:
    """Locks by name without the namespace, and when each expires, in epoch seconds."""
    keys = store.keys
    async for names in matching(store, *map(keys.named, kinds)):
        values: list[bytes | None] = await store.call("MGET", *names)
        yield {
            decode_name(name.removeprefix(keys.prefix.encode())): decode_name(value)
            for name, value in zip(names, values, strict=True)
            if value is not None  # it may have expired meanwhile
        }


async def every(store: Store) -> dict[str, str]:
    """All locks."""
    return {name: end async for page in _pages(store, *_KINDS) for name, end in page.items()}


async def some(store: Store, most: int) -> dict[str, str]:
    """At most this many locks, in scan order; `every` returns all."""
    found = dict[str, str]()
    async for page in _pages(store, *_KINDS):
        found |= page
        if len(found) >= most:
            break
    return dict(list(found.items())[:most])


async def exists(store: Store, name: str) -> bool:
    """Whether there is a lock of this name."""
    named = name.startswith(_KINDS)
    return named and bool(await store.call("EXISTS", store.keys.named(name)))


async def of_class(store: Store, class_name: str) -> AsyncIterator[tuple[str, str]]:
    """The locks of one class, by name, and when each expires."""
    async for page in _pages(store, *(f"{kind}{class_name}:" for kind in _KINDS)):
        for lock in page.items():
            yield lock


async def delete(store: Store, name: str) -> int:
    """Delete a lock by the name under which it is listed; returns how many there were (0 or 1)."""
    return int(await store.call("DEL", store.keys.named(name)))
