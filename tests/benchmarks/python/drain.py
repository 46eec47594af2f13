"""Drains a queue that is filled already; says how long it took from when every slot was busy."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from tests.benchmarks.python.common import Params, make_worker, run, say, stdin_ends


class Watch:
    """Counts the jobs.

    The clock starts when as many jobs have begun as there are slots: the first exchange fills all.
    """

    def __init__(
        self,
        jobs: int,
        slots: int,
        wait_s: float = 0.0,
        on_start: Callable[[], None] | None = None,
        on_stop: Callable[[], None] | None = None,
    ) -> None:
        self._jobs, self._slots, self._wait_s = jobs, slots, wait_s
        self._on_start, self._on_stop = on_start, on_stop
        self._begun = self._ended = self._ended_before = 0
        self._start = self._stop = 0.0
        self.all_done = asyncio.Event()

    async def perform(self, *_: object) -> None:
        """The task."""
        self._begun += 1
        if self._begun == self._slots:
            self._ended_before = self._ended
            if self._on_start is not None:
                self._on_start()
            self._start = time.perf_counter()
        if self._wait_s:
            await asyncio.sleep(self._wait_s)
        self._ended += 1
        if self._ended == self._jobs:
            self._stop = time.perf_counter()
            if self._on_stop is not None:
                self._on_stop()
            self.all_done.set()

    @property
    def counted(self) -> int:
        """Jobs on the clock."""
        return self._jobs - self._ended_before

    @property
    def seconds(self) -> float:
        """What they took."""
        return self._stop - self._start

    @property
    def rate(self) -> float:
        """Jobs a second."""
        return self.counted / self.seconds


async def main(params: Params) -> None:
    """Ready with all slots open; the runner then moves the jobs into the queue."""
    slots = params.get("processors") or 1
    watch = Watch(params["jobs"], slots, params.get("wait_ms", 0) / 1000)
    worker = make_worker(params, {"noop": watch.perform})
    await worker.start()
    say(ready=True)
    await watch.all_done.wait()
    spent = time.process_time()
    say(result={"rate": watch.rate, "cpu_s": spent})
    await stdin_ends()
    await worker.stop()


if __name__ == "__main__":
    run(main)
