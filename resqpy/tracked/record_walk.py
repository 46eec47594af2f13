"""Pages of tracked tasks without a script, for Redis users that may run none; in a few round trips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resqpy.store.client import Store
    from resqpy.tracked.record_pages import Section

_WINDOW = 500
_MOST_IDS = 5000  # looked at in one call
Found = tuple[int, bytes, bytes]  # the number of the section from 1, id, score


async def walk(
    store: Store, sections: Sequence[Section], most: int, *, ascending: bool
) -> tuple[list[Found], Found | None]:
    """What `lua/task_page.lua` answers."""
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
