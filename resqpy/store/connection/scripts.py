"""The Lua scripts: one operation a file, called by digest. Each floor has its own in its folder `lua/`; what
`exchange.lua` takes along with a job and writes beside its end is `lifecycle.lua` of a floor above.

All are read when this is imported: a process goes on with the scripts that it began with, also where
its files are replaced by another version's while it runs.

What one call of a script is given is bounded in bytes (`portions`), for Redis serves nobody while a script runs.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

_TEXTS = {each.stem: each.read_bytes() for each in Path(__file__).parents[2].glob("*/lua/*.lua")}
_INCLUDE = re.compile(rb"^-- include (\w+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """A script's text and digest."""

    name: str
    text: bytes
    sha: str


@cache
def script(name: str) -> Script:
    """The script `<name>.lua`; a line `-- include other` stands for `other.lua`."""
    text = _whole(name)
    return Script(name, text, hashlib.sha1(text, usedforsecurity=False).hexdigest())


def _whole(name: str) -> bytes:
    return _INCLUDE.sub(lambda found: _whole(found[1].decode()), _TEXTS[name])


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
