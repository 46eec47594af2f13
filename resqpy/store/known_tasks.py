"""Which tasks the live processes of an installation have loaded: each stores its own when it starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from resqpy.base import codec
from resqpy.store.connection.client import Store
from resqpy.store.queues import decode_name

LIVE_S = 60  # without a heartbeat for this long a process no longer counts


async def note(store: Store, incarnation: str, names: Sequence[str]) -> None:
    """Store what a process has loaded, and forget processes that are gone."""
    key = store.keys.known_tasks
    known, living, _ = await store.pipeline(
        [
            ("HGETALL", key),
            ("ZRANGE", store.keys.processes, 0, -1),
            ("HSET", key, incarnation, codec.encode_text(list(names))),
        ]
    )
    gone = set(known[::2]) - set(living) - {incarnation.encode()}
    if gone:
        await store.call("HDEL", key, *sorted(gone))


async def forget(store: Store, incarnation: str) -> None:
    """Forget a process that ends."""
    await store.call("HDEL", store.keys.known_tasks, incarnation)


async def versions(store: Store) -> dict[str, int]:
    """How many kinds of inputs the live processes declare for a task, if more than one."""
    (seconds, _), signs, noted = await store.pipeline(
        [
            ("TIME",),
            ("ZRANGE", store.keys.processes, 0, -1, "WITHSCORES"),
            ("HGETALL", store.keys.known_tasks),
        ]
    )
    found = Counter(name.partition(" ")[0] for name in _live(seconds, signs, noted) if " " in name)
    return {name: count for name, count in found.items() if count > 1}


async def of_others(store: Store, incarnation: str) -> tuple[set[str], bool]:
    """What the other live processes have loaded, and whether a scheduler leads. One round trip."""
    (seconds, _), led, led_by_node, signs, noted = await store.pipeline(
        [
            ("TIME",),
            ("EXISTS", store.keys.leader),
            ("EXISTS", store.keys.node_leader),
            ("ZRANGE", store.keys.processes, 0, -1, "WITHSCORES"),
            ("HGETALL", store.keys.known_tasks),
        ]
    )
    return _live(seconds, signs, noted, incarnation), bool(led or led_by_node)


def _live(seconds: Any, signs: list[Any], noted: list[Any], but: str = "") -> set[str]:
    """What all live processes but one have stored."""
    seen = {name: float(score) for name, score in zip(signs[::2], signs[1::2], strict=True)}
    found: set[str] = set()
    for name, raw in zip(noted[::2], noted[1::2], strict=True):
        if decode_name(name) != but and int(seconds) - seen.get(name, 0) <= LIVE_S:
            names = codec.decode_lenient(raw)
            names = names if isinstance(names, list) else []  # others may write anything here
            found.update(each for each in names if isinstance(each, str))
    return found
