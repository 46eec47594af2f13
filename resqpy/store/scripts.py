"""The Lua scripts: one operation a file, called by digest. Each floor has its own in its folder `lua/`; what
`exchange.lua` takes along with a job and writes beside its end is `lifecycle.lua` of a floor above.

All are read when this is imported: a process goes on with the scripts that it began with, also where
its files are replaced by another version's while it runs.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_TEXTS = {each.stem: each.read_bytes() for each in Path(__file__).parents[1].glob("*/lua/*.lua")}
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
