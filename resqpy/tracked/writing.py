"""How a task that runs here is written: in steps that hold only with the lock, from the record as it
is at that moment, whoever else changed it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from resqpy.base.clock import Clock
from resqpy.base.errors import OutcomeUnknown
from resqpy.engine.outcome import Command
from resqpy.store.client import Store
from resqpy.tracked import records
from resqpy.tracked.errors import LockLost
from resqpy.tracked.finishing import end_commands
from resqpy.tracked.processing import Processing
from resqpy.tracked.record import Record
from resqpy.tracked.transitions import Change

Step = Callable[[Record, int], Change]


class TaskWriter:
    """Writes one task.

    Attributes:
        record: as we last wrote or read it.
    """

    def __init__(self, record: Record, store: Store, clock: Clock, processing: Processing) -> None:
        self.record: Record = record
        self._store = store
        self._clock = clock
        self._processing = processing

    async def write(
        self, step: Step, more: Callable[[Record], Sequence[Command]] = lambda _: ()
    ) -> None:
        """Take a step.

        Args:
            more: what is written with it.

        Raises:
            AlreadyFinished, LockLost: nothing was written.
        """
        while True:
            self._processing.check()
            change = step(self.record, self._clock.now_us())
            try:
                done = await records.write(self._store, self._commands(change, more(self.record)))
            except OutcomeUnknown:
                done = False
            if done or await self._was_done(change):
                self.record = change.after or self.record
                return

    def _commands(self, change: Change, more: Sequence[Command]) -> list[records.Command]:
        return [
            records.same_lock(self._store, self.record),
            records.same_version(self._store, self.record),
            *map(tuple, more),
            *map(tuple, end_commands(self._store, change)),
        ]

    async def _was_done(self, change: Change) -> bool:
        """Look how the record is now: our step may have been done, although we were not told.

        Raises:
            LockLost: it is ours no more.
        """
        now, wanted = await records.get(self._store, self.record.id), change.after
        if now is None and (wanted is None or (wanted.retain_ms == 0 and wanted.status.final)):
            return True
        if now is not None and wanted is not None and now.updated_us == wanted.updated_us:
            return True
        mine = None if self.record.lock is None else self.record.lock.token
        if now is None or now.lock is None or now.lock.token != mine:
            self._processing.lose()
            raise LockLost
        self.record = now
        return False
