"""What `resqpy doctor` finds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

Fix = Callable[[], Awaitable[int]]


@dataclass(frozen=True)
class Problem:
    """Something that is wrong.

    Attributes:
        name: a word for programs.
        remedy: what a person can do.
        fix: what `--fix` does; how many things it put right.
        grave: False: worth knowing, nothing is broken.
    """

    name: str
    words: str
    remedy: str = ""
    fix: Fix | None = None
    grave: bool = True


Found = AsyncIterator[Problem]
