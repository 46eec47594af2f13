"""How a worker stops: let running jobs end, cancel the rest, put what did not end back."""

from __future__ import annotations

import asyncio

from resqpy.base.errors import StoreError
from resqpy.engine.options import WorkerOptions
from resqpy.engine.pool import Pool
from resqpy.engine.telling import Events, tell_error

_REPORT_WITHIN_S = 3.0  # that Redis gets to hear of the last ends
_HALT_WITHIN_S = 2.0  # that an exchange in flight gets
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
        no dispatcher any more that could report an end.
        """
        self._pool.stopping = True
        self._pool.look()
        waits: set[asyncio.Task[object]] = {
            asyncio.ensure_future(self._pool.idle()),
            asyncio.ensure_future(self._hurry.wait()),
        }
        watched = waits | ({dispatcher} if dispatcher is not None else set())
        try:
            await asyncio.wait(watched, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
        try:
            await self._pool.halt(_HALT_WITHIN_S)
        except TimeoutError:
            return

    async def interrupt(self) -> None:
        """Cancel what still runs, wait a little, and settle what does not end."""
        pool = self._pool
        found = (pool.runner.interrupt(slot) for slot in pool.slots.busy)
        tasks = [task for task in found if task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=self._options.cancel_timeout_s)
        for slot in pool.slots.busy:
            pool.runner.give_up(slot)

    async def report(self) -> None:
        """Tell Redis the last ends and forget the slots. What can't be told stays on record, where
        the rescue finds it.
        """
        try:
            async with asyncio.timeout(_REPORT_WITHIN_S):
                await self._report()
        except (StoreError, TimeoutError) as error:
            problem = error if isinstance(error, StoreError) else StoreError(_TOO_LATE)
            tell_error(self._events, problem)

    async def _report(self) -> None:
        refusals = 0
        while refusals < _REFUSALS:
            try:
                await self._report_all()
                if not self._pool.reporting.try_refused():
                    return
                refusals += 1
            except StoreError as error:
                tell_error(self._events, error)
            await asyncio.sleep(_PAUSE_S)

    async def _report_all(self) -> None:
        """One exchange for all that has ended, the latest taken first, so that returned jobs stand
        at the head of their queues as they did before.
        """
        reporting = self._pool.reporting
        if reporting.recover:
            await self._bring_back()
        ended = sorted(reporting.all_ended(), key=lambda end: -end.run.sequence)
        if ended:
            reporting.settle(ended, await reporting.call(ended, [], []))

    async def _bring_back(self) -> None:
        """Return the jobs whose taking was not heard of."""
        pool = self._pool
        free = [slot for slot in pool.slots.all if slot.run is None]
        exchanged = await pool.reporting.call([], free, [])
        for taken in exchanged.taken:
            slot = free[taken.index]
            pool.runner.return_untouched(slot, pool.runner.take(slot, taken))

    async def unregister(self) -> None:
        """Take the slots out of what Ruby and Node see."""
        slots = self._pool.slots.all
        try:
            await self._pool.slots.unregister()
        except StoreError as error:
            tell_error(self._events, error)
        for slot in slots:
            self._events.tell("end", slot)


_TOO_LATE = "the last ends could not be reported in time; the jobs are still on record"
