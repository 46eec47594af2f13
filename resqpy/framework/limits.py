"""When a process of workers has done enough: `process.burst`, `max_jobs`, `max_memory`."""

from __future__ import annotations

import asyncio
import resource
import sys
from pathlib import Path
from typing import Any

from resqpy.base.errors import UsageError
from resqpy.base.waiting import is_set_within
from resqpy.framework.log import get_logger
from resqpy.framework.sections import ProcessConfig

_CHECK_S = 1.0


class Limits:
    """Watches a worker."""

    def __init__(self, config: ProcessConfig, worker: Any) -> None:
        self._config = config
        self._worker = worker
        self._jobs = self._begun = 0
        self._done = asyncio.Event()
        if config.max_jobs is not None:
            worker.on("job", self._begins)
            for event in ("success", "failure", "re_enqueue"):
                worker.on(event, self._count)
        if config.burst:
            worker.on("pause", self._idle)

    def _begins(self, *_: Any) -> None:
        """One more than may be: a paused worker puts it back as it was."""
        self._begun += 1
        if self._begun > (self._config.max_jobs or 0):
            self._worker.pause()
            self._reach("max_jobs", self._config.max_jobs)

    def _count(self, *_: Any) -> None:
        self._jobs += 1
        if self._jobs == self._config.max_jobs:
            self._reach("max_jobs", self._jobs)

    def _idle(self, *_: Any) -> None:
        if not self._worker.pool.slots.busy:
            self._reach("burst", "the queues are empty")

    def _reach(self, name: str, value: Any) -> None:
        if not self._done.is_set():
            get_logger().info("limit reached, stopping", limit=name, value=value)
            self._done.set()

    async def reached(self) -> None:
        """Return when a limit is reached.

        Raises:
            UsageError: the process has more than `max_memory` before its first job.
        """
        most = self._config.max_memory
        if most is not None and (now := memory()) > most:
            raise UsageError(
                f"process.max_memory is {most:,} bytes, and this process has {now:,} before its first "
                "job, so it would end at once for ever; set it higher"
            )
        while not self._done.is_set():
            if most is None:
                await self._done.wait()
            elif (now := memory()) > most:
                self._reach("max_memory", now)
            else:
                await is_set_within(self._done, _CHECK_S)


def memory() -> int:
    """Bytes of memory that the process has now (where the system doesn't tell: had at its most)."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return pages * resource.getpagesize()
