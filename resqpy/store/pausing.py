"""The key by which all workers, Ruby's and ours, are told to rest (node-resque does not know it)."""

from __future__ import annotations

from resqpy.store.client import Store

PAUSED = b"true"


async def pause(store: Store) -> bool:
    """Pause all workers; False if they are paused."""
    return not says_paused(await store.call("SET", store.keys.pause, PAUSED, "GET"))


async def resume(store: Store) -> bool:
    """Let all workers work; False if they do."""
    return bool(await store.call("GETDEL", store.keys.pause))


async def is_paused(store: Store) -> bool:
    """Whether all workers rest."""
    [value] = await store.look([("GET", store.keys.pause)])
    return says_paused(value)


def says_paused(value: bytes | None) -> bool:
    """Whether the key's value pauses workers, as Ruby's and ours read it."""
    return value is not None and value.strip().lower() == PAUSED
