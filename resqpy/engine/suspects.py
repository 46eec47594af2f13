"""Jobs that were lost with their worker twice: each runs alone in its process.

If the process dies once more, it is known who kills it (`engine/rescue.py`), and no other job is
lost with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from resqpy.engine.rescue_rule import RUNS_ALONE_AFTER
from resqpy.engine.run import Run
from resqpy.engine.slots import Slot


class Suspects:
    """The suspects of one process: those that wait until nothing else runs, and the one that runs.

    Args:
        begin: starts a job in its slot.
    """

    def __init__(self, begin: Callable[[Slot, Run], None]) -> None:
        self._begin = begin
        self._waiting: deque[tuple[Slot, Run]] = deque()
        self._running: tuple[Slot, Run] | None = None

    @property
    def active(self) -> bool:
        """Whether one waits or runs: then no other job may be taken."""
        return bool(self._waiting) or self._running is not None

    def hold(self, slot: Slot, run: Run) -> bool:
        """Keep a job that was just taken until it may run; False if it is no suspect."""
        if run.rescues < RUNS_ALONE_AFTER:
            return False
        self._waiting.append((slot, run))
        return True

    def settle(self, busy: Sequence[Slot]) -> bool:
        """After an exchange: begin the next if nothing else runs; True if the last one is through.

        Args:
            busy: slots with a job, those of the suspects among them.
        """
        if not self.active:
            return False
        if self._running is not None and self._running[0].run is not self._running[1]:
            self._running = None
        self._waiting = deque((slot, run) for slot, run in self._waiting if slot.run is run)
        held = {slot.number for slot, _ in self._waiting}
        if self._waiting and all(slot.number in held for slot in busy):
            self._running = self._waiting.popleft()
            self._begin(*self._running)
        return not self.active
