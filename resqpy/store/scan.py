"""The one place that walks the keyspace: only for what has no index (locks, statistics).

It costs a look at every key of the database, so no worker ever does it (the leading scheduler looks
for orphans in small steps of its own, a few times a day: `resqpy.store.orphans`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from resqpy.store.client import Store
from resqpy.store.walk import Walk, is_watched

KEYS_PER_STEP = 2000  # one or two milliseconds of the server


async def matching(store: Store, *prefixes: str) -> AsyncIterator[list[bytes]]:
    """Keys that begin with one of several prefixes, a step of the walk at a time, none twice."""
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


async def keyspace_walk(store: Store) -> Walk:
    """A walk over all keys of the database that begins now."""
    return Walk("keys", int(await store.call("DBSIZE")) if is_watched() else 0)


def glob_literal(text: str) -> str:
    """A text as a pattern that matches only itself."""
    return "".join(f"\\{sign}" if sign in "*?[]\\^-" else sign for sign in text)
