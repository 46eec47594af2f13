"""A verb for all tasks that meet some conditions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from resqpy.tracked.errors import TaskStateError, UnknownTaskId
from resqpy.tracked.query import Conditions
from resqpy.tracked.record import TaskStatus

if TYPE_CHECKING:
    from resqpy.tracked.verbs import Tracked

_AT_ONCE = 100


class Selection:
    """Tasks by conditions. Each is handled by a step of its own, a hundred at the same time, from
    the oldest on; each verb says to how many it was done.

    A task that is gone meanwhile, or is in a status in which the verb is refused, is left as it is.
    """

    def __init__(self, tracked: Tracked, conditions: Conditions) -> None:
        self._tracked = tracked
        self._conditions = conditions

    async def enable(self, *, recompute_next_run: bool = False) -> int:
        """Let them run again; see `Tracked.enable`."""
        return await self._each(
            partial(self._tracked.enable, recompute_next_run=recompute_next_run)
        )

    async def disable(self) -> int:
        """Let them not run; runs that go on are told so."""
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
        """How many they are; with statuses: how many of them have one of these."""
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
