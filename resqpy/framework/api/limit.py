"""`api.limit(name)`: a limit or rate of tasks, for code that learns that it must wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from resqpy.base.concurrency.own_tasks import own_task
from resqpy.base.errors import StoreError
from resqpy.base.limits import key_text
from resqpy.base.when import Duration, duration_ms, moment_ms
from resqpy.store import limits

if TYPE_CHECKING:
    from resqpy.framework.api.tasks_api import TasksApi
    from resqpy.store.connection.client import Store

_LEASE_MS = 30_000
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 1.0


class LimitHandle:
    """A limit by its name, or one of its keys.

    Args:
        tasks: returns `api.tasks`.
        value: of the input that the limit goes by; None: all of them.
    """

    def __init__(
        self, tasks: Callable[[], TasksApi], name: str, value: str | float | None = None
    ) -> None:
        self._tasks = tasks
        self.key: str = name if value is None else f"{name}={key_text(value)}"

    async def wait_until(self, when: Duration | datetime) -> int:
        """Let no job under the limit begin before: a service has said so, by a 429 with `Retry-After`, say. Jobs
        that would begin wait for their turn, in all processes, without failing; those that run go on.

        Args:
            when: milliseconds or a timedelta from now, or an aware datetime.

        Returns:
            Until when, in milliseconds since the epoch, by Redis' clock: later, if somebody has said so.
        """
        tasks = self._tasks()
        if isinstance(when, datetime):
            left_ms = moment_ms(when, "when") - await tasks.inspector.now_ms()
            return await tasks.shut_limit(self.key, timedelta(milliseconds=max(left_ms, 0)))
        return await tasks.shut_limit(self.key, duration_ms(when, "when"))

    @asynccontextmanager
    async def slot(self, *, within: Duration | None = None) -> AsyncIterator[None]:
        """Hold a place of the limit outside of jobs, in a web request, say: jobs and blocks together are never
        more than may be. It waits for one, looking again at intervals up to a second, without a place in the row
        of the jobs that wait. If the process dies, the place is free half a minute later.

        Args:
            within: milliseconds or a timedelta to wait at most; None: however long it takes.

        Raises:
            TimeoutError: there was none so long.
            UsageError: there is no limit of that name: workers announce those of their tasks.
        """
        store, holder = self._tasks().inspector.store, limits.new_holder()
        wait_s = None if within is None else duration_ms(within, "within") / 1000
        async with asyncio.timeout(wait_s):
            pause_s = _FIRST_PAUSE_S
            while not await limits.take_slot(store, self.key, holder, _LEASE_MS):
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)
        renewing = own_task(_renew(store, holder), "renewing the place of a limit")
        try:
            yield
        finally:
            renewing.end()
            await asyncio.shield(limits.end_slot(store, holder))


async def _renew(store: Store, holder: str) -> None:
    while True:
        await asyncio.sleep(_LEASE_MS / 3000)
        with suppress(StoreError):  # it is renewed next time, or expires
            await limits.keep_slot(store, holder, _LEASE_MS)
