"""Handles of tracked tasks for whoever created or found them: irontask's `Task`, and all tasks that match
conditions.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from resqpy.base import codec
from resqpy.base.when import Duration, duration_s
from resqpy.tracked.checks import payload_text
from resqpy.tracked.errors import AlreadySaving, TaskStateError, UnknownTaskId
from resqpy.tracked.merge import difference
from resqpy.tracked.query import Conditions
from resqpy.tracked.record import Record, TaskStatus
from resqpy.tracked.view import TaskView

if TYPE_CHECKING:
    from resqpy.tracked.verbs import Tracked

_AT_ONCE = 100


class TrackedTask(TaskView):
    """A task and its verbs, from outside its run.

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
        """Write the changes of the payload; changes by others are kept.

        Raises:
            AlreadySaving: a save is in progress.
            UnknownTaskId: the task was removed.
            InvalidJob: the payload is not a JSON object, or too large.
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
            timeout: milliseconds or a timedelta; None: no limit.

        Raises:
            TimeoutError: it has not ended yet.
            UnknownTaskId: it was removed before it ended.
        """
        seconds = None if timeout is None else duration_s(timeout)
        async with asyncio.timeout(seconds):
            self.record = await self._tracked.waiting.until_ended(self.record)
        return self.record.status

    async def refresh(self) -> None:
        """Read it again; unsaved changes of the payload are lost."""
        self.record = (await self._tracked.fetch(self.id)).record
        self.payload = codec.decode_text(self.record.payload)
        self._reference = copy.deepcopy(self.payload)

    async def enable(self, *, recompute_next_run: bool = False) -> None:
        """Allow it to run again; see `Tracked.enable`."""
        self.record = await self._tracked.enable(self.id, recompute_next_run=recompute_next_run)

    async def disable(self) -> None:
        """Disable it; a current run is notified."""
        self.record = await self._tracked.disable(self.id)

    async def cancel(self) -> None:
        """Cancel it if it has not started; see `Tracked.cancel`."""
        self.record = await self._tracked.cancel(self.id)

    async def retry(self) -> None:
        """Run it now instead of waiting; see `Tracked.retry`."""
        self.record = await self._tracked.retry(self.id)

    async def remove(self) -> bool:
        """Remove it; False if it was removed already."""
        return await self._tracked.remove(self.id)


class Selection:
    """Tasks that match conditions. Each is handled in a separate step, a hundred at the same time, starting
    with the oldest; each verb returns how many were changed.

    A task that is gone meanwhile, or whose status does not allow the verb, is skipped.
    """

    def __init__(self, tracked: Tracked, conditions: Conditions) -> None:
        self._tracked = tracked
        self._conditions = conditions

    async def enable(self, *, recompute_next_run: bool = False) -> int:
        """Allow them to run again; see `Tracked.enable`."""
        return await self._each(
            partial(self._tracked.enable, recompute_next_run=recompute_next_run)
        )

    async def disable(self) -> int:
        """Disable them; current runs are notified."""
        return await self._each(self._tracked.disable)

    async def cancel(self) -> int:
        """Cancel those that have not started."""
        return await self._each(self._tracked.cancel)

    async def retry(self) -> int:
        """Run those now that wait or have failed."""
        return await self._each(self._tracked.retry)

    async def remove(self) -> int:
        """Remove them."""
        return await self._each(self._tracked.remove)

    async def count(self, statuses: Sequence[TaskStatus] = ()) -> int:
        """How many there are; with statuses: how many of them have one of these."""
        if not statuses:
            return await self._tracked.count(**self._conditions)
        said = self._conditions.get("status")
        named = [said] if isinstance(said, str) else said
        wanted = [each for each in statuses if named is None or each in named]
        narrowed: Conditions = {**self._conditions, "status": wanted}
        return await self._tracked.count(**narrowed) if wanted else 0

    async def _each(self, verb: Callable[[str], Awaitable[Any]]) -> int:
        done, cursor = 0, None
        while True:
            page = await self._tracked.query(cursor=cursor, page_size=_AT_ONCE, **self._conditions)
            done += sum(await asyncio.gather(*(_tried(verb, task.id) for task in page.tasks)))
            cursor = page.cursor
            if cursor is None:
                return done


async def _tried(verb: Callable[[str], Awaitable[Any]], task_id: str) -> bool:
    try:
        return bool(await verb(task_id))
    except (UnknownTaskId, TaskStateError):
        return False
