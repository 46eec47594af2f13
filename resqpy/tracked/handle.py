"""A tracked task as who created or found it holds it: irontask's `Task`."""

from __future__ import annotations

import asyncio
import copy
from typing import TYPE_CHECKING, Any

from resqpy.base import codec
from resqpy.base.when import Duration, duration_s
from resqpy.tracked.checks import payload_text
from resqpy.tracked.errors import AlreadySaving
from resqpy.tracked.merge import difference
from resqpy.tracked.record import Record, TaskStatus
from resqpy.tracked.view import TaskView

if TYPE_CHECKING:
    from resqpy.tracked.verbs import Tracked


class TrackedTask(TaskView):
    """A task and what can be done with it from outside its run.

    Attributes:
        payload: change it and call `save`.
    """

    def __init__(self, record: Record, tracked: Tracked) -> None:
        super().__init__(record, tracked.clock)
        self.payload: Any = codec.decode_text(record.payload)
        self._tracked = tracked
        self._reference = copy.deepcopy(self.payload)
        self._saving = False

    async def save(self) -> None:
        """Write what was changed in the payload; what others changed meanwhile stays.

        Raises:
            AlreadySaving: a save is under way.
            UnknownTaskId: the task was removed.
            InvalidJob: the payload is no JSON object, or too large.
        """
        if self._saving:
            raise AlreadySaving
        payload_text(self.payload)
        snapshot = copy.deepcopy(self.payload)
        patch = difference(self._reference, snapshot)
        if not patch:
            return
        self._saving = True
        try:
            self.record = await self._tracked.save_patch(self.id, patch)
            self._reference = snapshot
        finally:
            self._saving = False

    async def wait(self, timeout: Duration | None = None) -> TaskStatus:
        """Return when the task has ended, with its status: completed, failed, retried or cancelled; the
        record is that of its end. A recurring task ends with its recurrence.

        Args:
            timeout: milliseconds or a timedelta; None: for ever.

        Raises:
            TimeoutError: it goes on.
            UnknownTaskId: it was removed before it ended.
        """
        seconds = None if timeout is None else duration_s(timeout)
        async with asyncio.timeout(seconds):
            self.record = await self._tracked.waiting.until_ended(self.record)
        return self.record.status

    async def refresh(self) -> None:
        """Read it again; what was changed in the payload and not saved is forgotten."""
        self.record = (await self._tracked.fetch(self.id)).record
        self.payload = codec.decode_text(self.record.payload)
        self._reference = copy.deepcopy(self.payload)

    async def enable(self, *, recompute_next_run: bool = False) -> None:
        """Let it run again; see `Tracked.enable`."""
        self.record = await self._tracked.enable(self.id, recompute_next_run=recompute_next_run)

    async def disable(self) -> None:
        """Let it not run; a run that goes on is told so."""
        self.record = await self._tracked.disable(self.id)

    async def cancel(self) -> None:
        """Cancel it, if it has not started; see `Tracked.cancel`."""
        self.record = await self._tracked.cancel(self.id)

    async def retry(self) -> None:
        """Run it now instead of waiting; see `Tracked.retry`."""
        self.record = await self._tracked.retry(self.id)

    async def remove(self) -> bool:
        """Remove it; False if it was removed already."""
        return await self._tracked.remove(self.id)
