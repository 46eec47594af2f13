"""The Lua scripts: one operation per file, called by digest. Each package has its own in its folder `lua/`;
what `exchange.lua` takes along with a job and writes beside its end is `lifecycle.lua` of a package
above.

All are read at import: a process keeps using the scripts that it started with, even if its files are
replaced by another version while it runs.

The input of one script call is bounded in bytes (`portions`), because Redis is blocked while a script runs.
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
    """The script `<name>.lua`; a line `-- include other` is replaced by `other.lua`."""
    text = _whole(name)
    return Script(name, text, hashlib.sha1(text, usedforsecurity=False).hexdigest())


def _whole(name: str) -> bytes:
    return _INCLUDE.sub(lambda found: _whole(found[1].decode()), _TEXTS[name])


T = TypeVar("T")

MAX_BYTES = 1 << 20  # copied and compared in a few milliseconds


def portions(
    items: Iterable[T], size: Callable[[T], int], most: int = MAX_BYTES
) -> Iterator[list[T]]:
    """The items in order, in lists of at most this many bytes, but at least one item each."""
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
