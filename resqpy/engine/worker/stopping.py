"""How a worker stops: let running jobs end, cancel the rest, put what did not end back."""

from __future__ import annotations

import asyncio
import contextlib

from resqpy.base.concurrency.waiting import Deadline
from resqpy.base.errors import StoreError
from resqpy.engine.options import WorkerOptions
from resqpy.engine.telling import Events, tell_error
from resqpy.engine.worker.pool import Pool

_REPORT_WITHIN_S = 3.0  # that Redis gets to hear of the last ends
_HALT_WITHIN_S = 2.0  # that an exchange in flight gets
_HEARD_WITHIN_S = 5.0  # that Redis gets to say what it may have given us, where nothing runs
_PAUSE_S = 0.2
_REFUSALS = 5  # of the last ends, until they are left on record for the rescue


class Stopping:
    """The steps of a stop, in their order."""

    def __init__(self, pool: Pool, options: WorkerOptions, events: Events) -> None:
        self._pool = pool
        self._options = options
        self._events = events
        self._hurry = asyncio.Event()

    def hurry(self) -> None:
        """Wait for running jobs no longer."""
        self._hurry.set()

    async def drain(self, timeout_s: float | None, dispatcher: asyncio.Task[None] | None) -> None:
        """Take nothing more and wait until nothing runs, time is up, `hurry` is called, or there is
        no dispatcher any more that could report an end. For a Redis that does not answer, where nothing
        is to be reported, it does not wait long.
        """
        self._pool.stopping = True
        self._pool.look()
        waits: set[asyncio.Task[object]] = {
            asyncio.ensure_future(self._pool.idle()),
            asyncio.ensure_future(self._hurry.wait()),
            asyncio.ensure_future(self._nothing_ran_of_late()),
        }
        watched = waits | ({dispatcher} if dispatcher is not None else set())
        try:
            await asyncio.wait(watched, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    async def _nothing_ran_of_late(self) -> None:
        left_s = _HEARD_WITHIN_S
        while left_s > 0:
            await asyncio.sleep(_PAUSE_S)
            left_s = _HEARD_WITHIN_S if self._pool.slots.busy else left_s - _PAUSE_S

    async def halt(self, deadline: Deadline) -> None:
        """Let the dispatcher end, with the exchange that is in flight."""
        with contextlib.suppress(TimeoutError):
            await self._pool.halt(deadline.left(_HALT_WITHIN_S))

    async def interrupt(self) -> None:
        """Cancel what still runs, wait a little, and settle what does not end."""
        pool = self._pool
        found = (pool.runner.interrupt(slot) for slot in pool.slots.busy)
        tasks = [task for task in found if task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=self._options.cancel_timeout_s)
        for slot in pool.slots.busy:
            pool.runner.give_up(slot)

    async def report(self, deadline: Deadline) -> None:
        """Tell Redis the last ends and leave. What can't be told stays on record, where the rescue
        finds it.
        """
        try:
            async with asyncio.timeout(deadline.left(_REPORT_WITHIN_S)):
                await self._report()
        except TimeoutError:
            words = _TOO_LATE if self._pool.reporting.ended else _NOT_HEARD
            tell_error(self._events, StoreError(words))

    async def _report(self) -> None:
        refusals = 0
        while refusals < _REFUSALS:
            try:
                if await self._pool.report_all():
                    return
                refusals += self._pool.reporting.try_refused()
            except StoreError as error:
                tell_error(self._events, error)
            await asyncio.sleep(_PAUSE_S)

    async def unregister(self) -> None:
        """Take the process out of what others see, unless it is in doubt what stands on its records:
        then it goes without a word, and the rescue looks after them.
        """
        slots = self._pool.slots.all
        try:
            if not self._pool.reporting.doubt:
                await self._pool.slots.leave()
                self._pool.tell_spoiled()
        except StoreError as error:
            tell_error(self._events, error)
        for slot in slots:
            self._events.tell("end", slot)


_TOO_LATE = (
    "Redis did not hear of the last jobs in time; they are still on record, and go back to their queues "
    "when this process is taken for dead"
)

_NOT_HEARD = (
    "Redis did not answer in time; a job that it may have given this process last is still on record, and "
    "goes back to its queue when this process is taken for dead"
)
