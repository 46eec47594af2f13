"""Bounded waiting: for an event, for the first of several; and measuring the loop's delay."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import TypeVar

from resqpy.base.concurrency.own_tasks import first_done, own_task

T = TypeVar("T")


async def is_set_within(event: asyncio.Event, seconds: float) -> bool:
    """Whether an event is set within this many seconds.

    Uses `asyncio.timeout`: before Python 3.12 `asyncio.wait_for` may lose a cancellation.
    """
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


async def first_of(*coroutines: Coroutine[object, object, object]) -> None:
    """Return when one of several has ended; the others are cancelled.

    Raises:
        Exception: what the first one raised.
    """
    waits = [own_task(each) for each in coroutines]
    try:
        await first_done(*waits)
        for each in waits:
            if each.done():
                each.result()
    finally:
        for each in waits:
            each.end()


async def loop_delays(every_s: Callable[[], float]) -> AsyncIterator[float]:
    """Yield by how many seconds the event loop is late, repeatedly.

    Args:
        every_s: returns the seconds until the next measurement.
    """
    loop = asyncio.get_running_loop()
    while True:
        wait_s = every_s()
        due_s = loop.time() + wait_s
        await asyncio.sleep(wait_s)
        yield max(0.0, loop.time() - due_s)


async def in_own_thread(function: Callable[[], T]) -> T:
    """Run a blocking function in a thread. Not `asyncio.to_thread`, because tasks may occupy its whole pool
    forever.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        try:
            settle = partial(_settle, future.set_result, function())
        except BaseException as error:
            settle = partial(_settle, future.set_exception, error)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle)

    def _settle(how: Callable[..., None], value: object) -> None:
        if not future.done():
            how(value)

    try:
        threading.Thread(target=run, name="resqpy-aside", daemon=True).start()
    except RuntimeError:  # no more threads
        return function()
    return await future


_MIN_S = 0.05  # enough for an iteration or two of the loop


class Deadline:
    """A deadline that starts now.

    Args:
        seconds: its length.
    """

    def __init__(self, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._over_s = self._loop.time() + seconds

    def left(self, most_s: float) -> float:
        """How long a step may take: the time left, at most `most_s`, and always a short moment."""
        return max(_MIN_S, min(most_s, self._over_s - self._loop.time()))
