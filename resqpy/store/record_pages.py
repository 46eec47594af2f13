"""Pages of tracked tasks, from sorted sets of one order; no key is ever scanned for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from resqpy.store.client import Arg, Store


@dataclass(frozen=True, slots=True)
class Section:
    """A part of what is asked for.

    Attributes:
        sets: sorted sets of one order that each have all that is wanted, and perhaps more.
        after: score and id of the row before the first one wanted.
    """

    sets: tuple[str, ...]
    after: tuple[int, str] | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A place in the order."""

    section: int
    task_id: str
    score: int


async def page(
    store: Store, sections: Sequence[Section], most: int, *, ascending: bool
) -> list[Row]:
    """The next rows. One round trip."""
    args: list[Arg] = ["asc" if ascending else "desc", most, len(sections)]
    for section in sections:
        score, task_id = section.after or ("", "")
        args += (len(section.sets), score, task_id)
    names = [name for section in sections for name in section.sets]
    rows = await store.run("task_page", names, args)
    return [Row(index - 1, task_id.decode(), int(float(score))) for index, task_id, score in rows]


async def count(store: Store, sets: Sequence[str]) -> list[int]:
    """How many tasks each of several sorted sets has."""
    return await store.pipeline([("ZCARD", name) for name in sets])
