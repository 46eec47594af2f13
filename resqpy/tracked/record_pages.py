"""Pages of tracked tasks, from sorted sets of one order; no key is ever scanned for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resqpy.store.client import Arg, Store

if TYPE_CHECKING:
    from resqpy.store.client import Store

_WINDOW = 500
_MOST_IDS = 5000  # looked at in one call
Found = tuple[int, bytes, bytes]  # the number of the section from 1, id, score


@dataclass(frozen=True, slots=True)
class Section:
    """A part of what is asked for.

    Attributes:
        sets: sorted sets of the order.
        others: sorted sets of another order. What is wanted stands in all these sets.
        one_of: sorted sets in one of which it stands, if there are any.
        after: score and id of the row before the first one wanted.
    """

    sets: tuple[str, ...]
    others: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()
    after: tuple[int, str] | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A place in the order."""

    section: int
    task_id: str
    score: int


async def page(
    store: Store, sections: Sequence[Section], most: int, *, ascending: bool
) -> tuple[list[Row], Row | None]:
    """The next rows. One round trip; without scripts, a few.

    Returns:
        The rows, and where it was given up after many ids that are not wanted: the place to go on.
    """
    if not store.scripts:
        found, stopped = await walk(store, sections, most, ascending=ascending)
        return [_row(*row) for row in found], _row(*stopped) if stopped else None
    args: list[Arg] = ["asc" if ascending else "desc", most, len(sections)]
    for section in sections:
        score, task_id = section.after or ("", "")
        counts = (len(section.sets), len(section.others), len(section.one_of))
        args += (*counts, score, task_id)
    names = [name for each in sections for name in (*each.sets, *each.others, *each.one_of)]
    rows, *given_up = await store.run("task_page", names, args)
    return [_row(*row) for row in rows], _row(*given_up[0]) if given_up else None


def _row(section: int, task_id: bytes, score: bytes) -> Row:
    return Row(section - 1, task_id.decode(), int(float(score)))


async def count(store: Store, sets: Sequence[str]) -> list[int]:
    """How many tasks each of several sorted sets has."""
    return await store.pipeline([("ZCARD", name) for name in sets])


async def walk(
    store: Store, sections: Sequence[Section], most: int, *, ascending: bool
) -> tuple[list[Found], Found | None]:
    """What `lua/task_page.lua` answers, for Redis users that may run no script; in a few round trips."""
    rows: list[Found] = []
    left = _MOST_IDS
    for number, section in enumerate(sections, 1):
        sizes = await store.pipeline([("ZCARD", name) for name in section.sets])
        key = section.sets[sizes.index(min(sizes))]
        others = [name for name in (*section.sets, *section.others) if name != key]
        offset = 0
        while len(rows) < most:
            window = await _window(store, key, section, offset, ascending=ascending)
            later = [pair for pair in window if _is_after(pair, section, ascending=ascending)]
            wanted = await _in_all(store, [each for each, _ in later], others)
            rows += [(number, *pair) for pair, right in zip(later, wanted, strict=True) if right]
            left -= len(window)
            if len(window) < _WINDOW:
                break
            if left <= 0 and len(rows) < most:
                return rows, (number, *window[-1])
            offset += _WINDOW
        if len(rows) >= most:
            break
    return rows[:most], None


async def _window(
    store: Store, key: str, section: Section, offset: int, *, ascending: bool
) -> list[tuple[bytes, bytes]]:
    begin = str(section.after[0]) if section.after else "-inf" if ascending else "+inf"
    verb, end = ("ZRANGEBYSCORE", "+inf") if ascending else ("ZREVRANGEBYSCORE", "-inf")
    flat = await store.call(verb, key, begin, end, "WITHSCORES", "LIMIT", offset, _WINDOW)
    return list(zip(flat[::2], flat[1::2], strict=True))


def _is_after(pair: tuple[bytes, bytes], section: Section, *, ascending: bool) -> bool:
    if section.after is None:
        return True
    place, after = (float(pair[1]), pair[0]), (section.after[0], section.after[1].encode())
    return place > after if ascending else place < after


async def _in_all(store: Store, ids: Sequence[bytes], sets: Sequence[str]) -> list[bool]:
    asked = [("ZSCORE", name, each) for each in ids for name in sets]
    scores, each = await store.pipeline(asked), len(sets)
    return [None not in scores[at * each : (at + 1) * each] for at in range(len(ids))]
