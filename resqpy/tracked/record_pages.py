"""Pages of tracked tasks, from sorted sets of one order; no key is ever scanned for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from resqpy.store.client import Arg, Store
from resqpy.tracked.record_walk import walk


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
