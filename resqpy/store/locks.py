"""The locks of the plugins, `lock:…` and `workerslock:…`. They have no index, so listing them scans."""

from __future__ import annotations

from collections.abc import AsyncIterator

from resqpy.store.client import Store
from resqpy.store.queues import decode_name
from resqpy.store.scan import matching


async def every(store: Store) -> dict[str, str]:
    """Locks by their names without the namespace; the value is when each ends, in epoch seconds."""
    keys, found = store.keys, {}
    async for names in matching(store, keys.named("lock:"), keys.named("workerslock:")):
        values: list[bytes | None] = await store.call("MGET", *names)
        for name, value in zip(names, values, strict=True):
            if value is not None:  # it may have ended meanwhile
                found[decode_name(name.removeprefix(keys.prefix.encode()))] = decode_name(value)
    return found


async def some(store: Store, most: int) -> dict[str, str]:
    """So many locks at the most, as the walk over all keys meets them; `every` has all."""
    keys, found = store.keys, dict[str, str]()
    async for names in matching(store, keys.named("lock:"), keys.named("workerslock:")):
        values: list[bytes | None] = await store.call("MGET", *names)
        for name, value in zip(names, values, strict=True):
            if value is not None:
                found[decode_name(name.removeprefix(keys.prefix.encode()))] = decode_name(value)
        if len(found) >= most:
            break
    return dict(list(found.items())[:most])


async def exists(store: Store, name: str) -> bool:
    """Whether there is a lock of this name."""
    named = name.startswith(("lock:", "workerslock:"))
    return named and bool(await store.call("EXISTS", store.keys.named(name)))


async def of_class(store: Store, class_name: str) -> AsyncIterator[tuple[str, str]]:
    """The locks of one class, by name, with when each ends."""
    keys = store.keys
    prefixes = [keys.named(f"{kind}:{class_name}:") for kind in ("lock", "workerslock")]
    async for names in matching(store, *prefixes):
        values: list[bytes | None] = await store.call("MGET", *names)
        for name, value in zip(names, values, strict=True):
            if value is not None:
                yield decode_name(name.removeprefix(keys.prefix.encode())), decode_name(value)


async def delete(store: Store, name: str) -> int:
    """Delete a lock by the name under which it is listed; how many there were (0 or 1)."""
    return int(await store.call("DEL", store.keys.named(name)))
