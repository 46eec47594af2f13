"""How a worker stops: let running jobs finish, cancel the rest, put unfinished jobs back."""

from __future__ import annotations

import asyncio
import contextlib

from resqpy.base.concurrency.waiting import Deadline
from resqpy.base.errors import StoreError
from resqpy.engine.event_sink import EventSink, tell_error
from resqpy.engine.options import WorkerOptions
from resqpy.engine.worker.pool import Pool

_REPORT_WITHIN_S = 3.0  # for reporting the last ends
_HALT_WITHIN_S = 2.0  # for an exchange in flight
_HEARD_WITHIN_S = 5.0  # for Redis to say what it may have given us, if nothing is running
_PAUSE_S = 0.2
_REFUSALS = 5  # of the last ends, before they are left in their records for the rescue


class Stopping:
    """The steps of a stop, in order."""

    def __init__(self, pool: Pool, options: WorkerOptions, events: EventSink) -> None:
        self._pool = pool
        self._options = options
        self._events = events
        self._hurry = asyncio.Event()

    def hurry(self) -> None:
        """Stop waiting for running jobs."""
        self._hurry.set()

    async def drain(self, timeout_s: float | None, dispatcher: asyncio.Task[None] | None) -> None:
        """Claim nothing more and wait until nothing runs, time is up, `hurry` is called, or the dispatcher,
        which would report an end, is gone. If Redis does not answer and there is nothing to report, it
        does not wait long.
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
        """Let the dispatcher end, with the exchange in flight."""
        with contextlib.suppress(TimeoutError):
            await self._pool.halt(deadline.left(_HALT_WITHIN_S))

    async def interrupt(self) -> None:
        """Cancel what still runs, wait a little, and decide what does not end."""
        pool = self._pool
        found = (pool.runner.interrupt(slot) for slot in pool.slots.busy)
        tasks = [task for task in found if task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=self._options.cancel_timeout_s)
        for slot in pool.slots.busy:
            pool.runner.give_up(slot)

    async def report(self, deadline: Deadline) -> None:
        """Report the last ends and leave. What can't be reported stays in its record, where the rescue
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
        """Remove the process from what others see, unless the content of its records is in doubt: then it
        leaves silently, and the rescue handles them.
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
    "the last jobs could not be reported to Redis in time; they are still in their records, and go back to "
    "their queues when this process is presumed dead"
)

_NOT_HEARD = (
    "Redis did not answer in time; a job that it may just have given this process is still in its record, and "
    "goes back to its queue when this process is presumed dead"
)
