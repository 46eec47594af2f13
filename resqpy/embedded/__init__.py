"""A real Redis server as a child process: one per project directory, or one for a test; never a fake.

The names are imported on first use: the keeper, a program of its own, needs few of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from resqpy.base.imports import names_at_first_use

__all__ = ["EmbeddedServer", "PrivateServer", "acquire", "begin", "find_binary", "look"]

if TYPE_CHECKING:
    from resqpy.embedded.private import PrivateServer
    from resqpy.embedded.process import find_binary
    from resqpy.embedded.shared import EmbeddedServer, acquire, begin, look
else:
    _MODULES = dict.fromkeys(__all__, "embedded.shared") | {
        "PrivateServer": "embedded.private",
        "find_binary": "embedded.process",
    }
    __getattr__, __dir__ = names_at_first_use("resqpy.embedded", _MODULES)
