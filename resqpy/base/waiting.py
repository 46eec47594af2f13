"""Waiting with an end: for an event within a time, for the first of several."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine


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
    waits = [asyncio.ensure_future(each) for each in coroutines]
    try:
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for each in done:
            each.result()
    finally:
        for each in waits:
            each.cancel()
