"""For tests of programs that use resqpy: run tasks, inspect what was enqueued, run it, move time.

    from resqpy.testing import drain, find_enqueued, run_task

    async def test_welcome(resqpy_process):
        assert await run_task("sendWelcomeEmail", {"to": "ada@example.com"}) == "sent"

Everything acts on the process that `api` refers to. The fixtures (`resqpy_process` and others) come with
the pytest plugin of this package, which pytest finds by itself: see `resqpy.testing.plugin`. In synchronous
tests, the fixture `resqpy_run` calls them: `resqpy_run(find_enqueued, "sendWelcomeEmail")`. Redis is never
faked: it is a real server, started for the tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from resqpy.base.imports import names_at_first_use

if TYPE_CHECKING:
    from resqpy.embedded.private import PrivateServer
    from resqpy.testing.clock import ManualClock, manual_clock
    from resqpy.testing.draining import Drained, DrainedJob, drain
    from resqpy.testing.enqueued import (
        EnqueuedJob,
        Event,
        capture_events,
        delete_enqueued,
        find_enqueued,
        override,
        run_full_task,
        run_task,
    )
    from resqpy.testing.synchronous import SyncRunner

__all__ = [
    "Drained",
    "DrainedJob",
    "EnqueuedJob",
    "Event",
    "ManualClock",
    "PrivateServer",
    "SyncRunner",
    "capture_events",
    "delete_enqueued",
    "drain",
    "find_enqueued",
    "manual_clock",
    "override",
    "run_full_task",
    "run_task",
]

_MODULES = {
    "Drained": "testing.draining",
    "DrainedJob": "testing.draining",
    "EnqueuedJob": "testing.enqueued",
    "Event": "testing.enqueued",
    "ManualClock": "testing.clock",
    "PrivateServer": "embedded.private",
    "SyncRunner": "testing.synchronous",
    "capture_events": "testing.enqueued",
    "delete_enqueued": "testing.enqueued",
    "drain": "testing.draining",
    "find_enqueued": "testing.enqueued",
    "manual_clock": "testing.clock",
    "override": "testing.enqueued",
    "run_full_task": "testing.enqueued",
    "run_task": "testing.enqueued",
}

if not TYPE_CHECKING:  # a type checker that sees `__getattr__` accepts any name
    __getattr__, __dir__ = names_at_first_use("resqpy.testing", _MODULES)
