"""What a task returned: its result, or something that still has to run, which is not a success.

| returned | by a plain function | by an async one |
|---|---|---|
| a coroutine | awaited: it is a plain function around an async one | the job fails: an `await` is missing |
| a future or task of the worker's loop, or of `concurrent.futures` | awaited | awaited |
| a generator, a future of another loop, anything else to be awaited | the job fails | the job fails |
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import inspect
from collections.abc import Coroutine
from typing import Any

from resqpy.base.errors import TaskUnfinished

# Types of finished results, for a quick check by callers: that saves a coroutine per job.
NEED_NO_LOOK = frozenset({type(None), bool, int, float, str, bytes, list, dict, tuple})


async def finished(result: object, *, plain: bool) -> object:
    """The result, once nothing of it still has to run.

    Args:
        plain: it was returned by a plain function, not by an async one.

    Raises:
        TaskUnfinished: what it is, and what to do.
    """
    if type(result) in NEED_NO_LOOK:
        return result
    if plain and isinstance(result, Coroutine):
        result = await result
    while (future := _future_of(result)) is not None:
        result = await future
    if message := _unfinished(result):
        _close(result)
        raise TaskUnfinished(f"the task returned {message}")
    return result


def _future_of(result: object) -> asyncio.Future[Any] | None:
    """A future that this loop can wait for."""
    if isinstance(result, concurrent.futures.Future):
        return asyncio.wrap_future(result)
    here = isinstance(result, asyncio.Future) and result.get_loop() is asyncio.get_running_loop()
    return result if here and isinstance(result, asyncio.Future) else None


def _unfinished(result: object) -> str:
    """What a result is, if it still has to run, and what to do; an empty text for any other."""
    if inspect.isgenerator(result) or inspect.isasyncgen(result):
        return (
            "a generator, so nothing of it ran: it has a yield, perhaps behind a decorator or in a function "
            "that it calls; exhaust it, and return a value"
        )
    if isinstance(result, Coroutine):
        return (
            "a coroutine, so nothing of it ran: an await is missing, in the task or in the wrapper of a "
            "decorator (`return await function(…)`)"
        )
    if isinstance(result, asyncio.Future):
        return "a future of another event loop, which can't be awaited here; return its result"
    if inspect.isawaitable(result):
        return f"a {type(result).__name__}, which still has to be awaited: await it in the task"
    return ""


def _close(result: object) -> None:
    """It never runs, so Python need not warn about a coroutine that was never awaited."""
    close = getattr(result, "close", None)
    if callable(close) and not inspect.isasyncgen(result):
        with contextlib.suppress(Exception):  # e.g. of its own `finally`
            close()


def yields(function: Any) -> bool:
    """Whether calling a function, or an object, returns a generator and runs nothing."""
    own = getattr(type(function), "__call__", None)  # noqa: B004 - that of an object
    return any(
        inspect.isgeneratorfunction(each) or inspect.isasyncgenfunction(each)
        for each in (function, own)
    )
