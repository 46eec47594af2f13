"""Retries requests until Redis answers: a claimed job must not fail because Redis is unreachable."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from resqpy.base.errors import OutcomeUnknown, StoreUnavailable
from resqpy.engine.run import Run

T = TypeVar("T")

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 2.0


async def patiently(run: Run, ask: Callable[[bool], Awaitable[T]]) -> T:
    """What `ask` returns once Redis is reachable; a stop or a cancellation ends the wait.

    Args:
        ask: called with True if an earlier call may have succeeded although its reply was lost.

    Raises:
        StoreUnavailable, OutcomeUnknown: only for a run without a worker (`perform_inline`).
    """
    again, pause_s = False, _FIRST_PAUSE_S
    while True:
        try:
            return await ask(again)
        except (StoreUnavailable, OutcomeUnknown) as error:
            if run.inline:
                raise
            again = again or isinstance(error, OutcomeUnknown)
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
