"""Delayed jobs: `delayed:<second>` lists, their index `delayed_queue_schedule`, and the reverse
index `timestamps:<item>`, whose key is the item's exact text.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from resqpy.store.client import Arg, Store
from resqpy.store.sweep import Item
from resqpy.store.walk import Walk, is_watched


def add_commands(store: Store, second: int, item: bytes) -> list[tuple[Arg, ...]]:
    """The commands that store an item for a second; to be done in one step."""
    keys = store.keys
    return [
        ("RPUSH", keys.delayed(second), item),
        ("SADD", keys.timestamps(item), keys.delayed_member(second)),
        ("ZADD", keys.schedule, second, second),
    ]


def delay_command(store: Store, wait_ms: int, item: bytes, now_ms: int | None) -> tuple[Arg, ...]:
    """The same for an item that is due in so many milliseconds from now, by Redis' clock; a word of
    the exchange.

    Args:
        now_ms: what time it is; None: Redis' time.
    """
    keys = store.keys
    told: Arg = "" if now_ms is None else now_ms
    return (
        "DELAY", wait_ms, told, item, keys.schedule, keys.delayed(""), keys.timestamps(item)
    )  # fmt: skip


class Added(NamedTuple):
    """What came of adding an item.

    Attributes:
        stored: it stands there now.
        due: its time has come, so it was not stored; else it was there.
        second: at which it is due.
    """

    stored: bool
    due: bool
    second: int


async def add(
    store: Store,
    item: bytes,
    spellings: Sequence[bytes],
    *,
    at_ms: int | None = None,
    in_ms: int = 0,
    now_ms: int | None = None,
) -> Added:
    """Store an item, rounded up to a full second, unless it is due already, or is there, in any
    spelling, within a second: Node rounds and Ruby truncates, so the neighbours count. One round trip.

    Args:
        at_ms: when it is due; None: `in_ms` from now.
        now_ms: what time it is; None: Redis' time.
    """
    keys = store.keys
    args: list[Arg] = ["in", in_ms] if at_ms is None else ["at", at_ms]
    args += ("" if now_ms is None else now_ms, item)
    status, second = await store.run(
        "delay",
        [keys.schedule, keys.delayed(""), keys.timestamps(item)],
        [*args, *map(keys.timestamps, spellings)],
    )
    return Added(status == 1, status == -1, int(second))


async def seconds_of(store: Store, spellings: Sequence[bytes]) -> list[int]:
    """The seconds at which an item is due, whoever wrote it."""
    commands = [("SMEMBERS", store.keys.timestamps(text)) for text in spellings]
    found: set[int] = set()
    for members in await store.pipeline(commands):
        found.update(second for each in members if (second := _member_second(each)) is not None)
    return sorted(found)


def _member_second(member: bytes) -> int | None:
    text = member.rpartition(b":")[2]
    return int(text) if text.isdigit() else None


async def remove(store: Store, spellings: Sequence[bytes]) -> list[int]:
    """Remove an item wherever it is due; the seconds at which it was. One round trip.

    The index keeps the seconds for the scheduler to clean, as both languages do.
    """
    keys = store.keys
    pairs: list[Arg] = []
    for text in spellings:
        pairs += (text, keys.timestamps(text))
    reply: list[bytes] = await store.run("undelay", [keys.delayed("")], pairs)
    return sorted({second for each in reply if (second := _member_second(each)) is not None})


async def remove_at(store: Store, second: int) -> int:
    """Remove all that is due at one second; how many items there were."""
    keys = store.keys
    reply = await store.run(
        "undelay_at",
        [keys.schedule, keys.delayed(second), keys.timestamps(b"")],
        [second, keys.delayed_member(second)],
    )
    return int(reply)


async def seconds(store: Store, start: int = 0, stop: int = -1) -> list[str]:
    """Members of the index by rank, earliest first; foreign clients may have left odd ones."""
    members: list[bytes] = await store.call("ZRANGE", store.keys.schedule, start, stop)
    return [member.decode("utf-8", "replace") for member in members]


async def every_page(store: Store, step: int = 500) -> AsyncIterator[list[str]]:
    """All members of the index, earliest first, a page at a time."""
    walk = Walk("times of delayed jobs", await count(store) if is_watched() else 0)
    while members := await seconds(store, walk.done, walk.done + step - 1):
        yield members
        walk.step(step)


def is_second(member: str) -> bool:
    """Whether a member of the index is one: foreign clients may leave fractions and words (trap 3)."""
    return member.isascii() and member.isdigit() and len(member) < 12


async def heads(store: Store, members: Sequence[str], length: int) -> list[list[bytes]]:
    """The first items of several seconds, in one round trip."""
    return await store.pipeline(
        [("LRANGE", store.keys.delayed(each), 0, length - 1) for each in members]
    )


async def drop(store: Store, second: int, items: Sequence[Item]) -> set[int]:
    """Remove items of a second that were just seen; the indices of those that were still there. One
    round trip. The index keeps the second for the scheduler to clean.
    """
    if not items:
        return set()
    keys, args = store.keys, list[Arg]([store.keys.delayed_member(second)])
    for item in items:
        args += (item.index, item.raw)
    reply = await store.run("undelay_items", [keys.delayed(second), keys.timestamps(b"")], args)
    return {item.index for item, done in zip(items, reply, strict=True) if done}


async def lengths(store: Store, members: Sequence[str]) -> list[int]:
    """How many items are due at each of several seconds, in one round trip."""
    return await store.pipeline([("LLEN", store.keys.delayed(each)) for each in members])


async def count(store: Store) -> int:
    """At how many seconds something is due."""
    return int(await store.call("ZCARD", store.keys.schedule))
