"""The Lua scripts: one operation a file in `lua/`, loaded once, called by digest."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent / "lua"
_INCLUDE = re.compile(rb"^-- include (\w+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """A script's text and digest."""

    name: str
    text: bytes
    sha: str


@cache
def script(name: str) -> Script:
    """The script in `lua/<name>.lua`; a line `-- include other` stands for `lua/other.lua`."""
    text = _INCLUDE.sub(lambda found: _read(found[1].decode()), _read(name))
    return Script(name, text, hashlib.sha1(text, usedforsecurity=False).hexdigest())


def _read(name: str) -> bytes:
    return (_FOLDER / f"{name}.lua").read_bytes()
