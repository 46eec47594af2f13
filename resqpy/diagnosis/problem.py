"""A finding of `resqpy doctor`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from resqpy.store.repair.undo import Touched, Undo

Fix = Callable[[Undo], Awaitable[int]]


@dataclass(frozen=True)
class Problem:
    """A problem.

    Attributes:
        name: a word for programs.
        remedy: what a person can do.
        fix: what `--fix` does, recording how to undo it; returns how many things it fixed.
        grave: False: worth knowing, nothing is broken.
        details: more of it for programs.
    """

    name: str
    words: str
    remedy: str = ""
    fix: Fix | None = None
    grave: bool = True
    details: Mapping[str, Any] = field(default_factory=dict)


Found = AsyncIterator[Problem]


def fix(repair: Callable[[], Awaitable[int]], **touched: Any) -> Fix:
    """A repair that can be undone."""

    async def repaired(undo: Undo) -> int:
        return await undo.watch(Touched(**touched), repair)

    return repaired
