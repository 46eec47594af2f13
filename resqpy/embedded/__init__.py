"""A real Redis server as a child process: one per project directory, or one for a test; never a fake."""

from __future__ import annotations

from resqpy.embedded.private import PrivateServer
from resqpy.embedded.process import find_binary
from resqpy.embedded.shared import EmbeddedServer, acquire, begin, look

__all__ = ["EmbeddedServer", "PrivateServer", "acquire", "begin", "find_binary", "look"]
