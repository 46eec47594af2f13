"""One object for both sides: enqueue and delete, read and repair."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resqpy.base.clock import SYSTEM_CLOCK, Clock
from resqpy.engine.inspect.inspector import Inspector
from resqpy.engine.queue.client import Connection
from resqpy.engine.queue.queue import Queue


class Resque(Queue, Inspector):
    """A `Queue` and an `Inspector` on one connection; takes what `Queue` takes."""

    def __init__(
        self,
        connection: Connection = None,
        jobs: Mapping[str, Any] | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        Queue.__init__(self, connection, jobs, clock)
        Inspector.__init__(self, self)
