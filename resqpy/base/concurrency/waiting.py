"""Waiting with an end: for an event within a time, for the first of several; and how late an end comes."""

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
    """Whether an event is set within so many seconds.

    By `asyncio.timeout`: before Python 3.12 `asyncio.wait_for` may lose a cancellation.
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
        Exception: whatever it raised.
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
    """By how many seconds the event loop is late, again and again.

    Args:
        every_s: asked for the seconds until the next time.
    """
    loop = asyncio.get_running_loop()
    while True:
        wait_s = every_s()
        due_s = loop.time() + wait_s
        await asyncio.sleep(wait_s)
        yield max(0.0, loop.time() - due_s)


async def in_own_thread(function: Callable[[], T]) -> T:
    """What a blocking function returns. Not by `asyncio.to_thread`: tasks may hold all threads of its
    pool, for ever.
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


_LEAST_S = 0.05  # for what needs only a pass or two of the loop


class Deadline:
    """The end of a time that begins now.

    Args:
        seconds: how long it is.
    """

    def __init__(self, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._over_s = self._loop.time() + seconds

    def left(self, most_s: float) -> float:
        """How long a step may take: what is left, but no longer than `most_s`; and a moment in any case."""
        return max(_LEAST_S, min(most_s, self._over_s - self._loop.time()))
