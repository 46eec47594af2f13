"""What one call of a script is given: bounded in bytes, for Redis serves nobody while a script runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

MOST_BYTES = 1 << 20  # copied and compared in a few milliseconds


def portions(
    items: Iterable[T], size: Callable[[T], int], most: int = MOST_BYTES
) -> Iterator[list[T]]:
    """The items in their order, in lists of so many bytes at the most, each with one item at least."""
    portion: list[T] = []
    total = 0
    for item in items:
        if portion and total + size(item) > most:
            yield portion
            portion, total = [], 0
        portion.append(item)
        total += size(item)
    if portion:
        yield portion
