"""The Lua scripts: one operation a file in `lua/`, loaded once, called by digest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent / "lua"


@dataclass(frozen=True, slots=True)
class Script:
    """A script's text and digest."""

    name: str
    text: bytes
    sha: str


@cache
def script(name: str) -> Script:
    """The script in `lua/<name>.lua`."""
    text = (_FOLDER / f"{name}.lua").read_bytes()
    return Script(name, text, hashlib.sha1(text, usedforsecurity=False).hexdigest())
