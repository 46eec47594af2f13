"""Wait for a condition instead of sleeping for luck."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")

POLL_S = 0.005
PATIENCE_S = 40.0  # of a busy machine; what comes earlier is seen earlier


@overload
async def wait_for(
    condition: Callable[[], Awaitable[T]], timeout: float = PATIENCE_S, message: str = ""
) -> T: ...


@overload
async def wait_for(
    condition: Callable[[], T], timeout: float = PATIENCE_S, message: str = ""
) -> T: ...


async def wait_for(
    condition: Callable[[], Any], timeout: float = PATIENCE_S, message: str = ""
) -> Any:
    """Return the condition's first truthy value; it may be sync or async.

    Raises:
        AssertionError: it stayed falsy for `timeout` seconds; never less than `PATIENCE_S`.
    """
    timeout = max(timeout, PATIENCE_S)
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        result = await value if inspect.isawaitable(value) else value
        if result:
            return result
        if time.monotonic() > deadline:
            what = message or getattr(condition, "__qualname__", repr(condition))
            raise AssertionError(f"not within {timeout:g} s: {what} (last value: {result!r})")
        await asyncio.sleep(POLL_S)


def wait_until(condition: Callable[[], T], message: str = "", timeout: float = PATIENCE_S) -> T:
    """The same for code without an event loop, or that keeps it busy."""
    deadline = time.monotonic() + max(timeout, PATIENCE_S)
    while not (value := condition()):
        assert time.monotonic() < deadline, message or f"not in time; last value: {value!r}"
        time.sleep(POLL_S)
    return value
