"""Run users' code with a time limit: cancel it twice, then abandon it.

A coroutine may swallow its cancellation, so one is not enough, and even two may not be. The caller then
continues; the abandoned coroutine runs as long as it likes and is reported.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar, cast

from resqpy.base.concurrency.own_tasks import OWNER, OwnTask, own_task

R = TypeVar("R")

_log = logging.getLogger("resqpy")

GRACE_S = 1.5  # granted after each of two cancellations


async def within(
    coroutine: Coroutine[Any, Any, R],
    limit_s: float | None,
    late: Callable[[], Exception],
    name: str,
    on_abandoned: Callable[[OwnTask[Any]], None] | None = None,
    own_time: OwnTime | None = None,
) -> R:
    """The result of a coroutine with a time limit; one that returns in spite of its cancellation counts as
    done.

    Args:
        late: makes the error raised when the time is over.
        name: whose coroutine it is, for messages.
        on_abandoned: called with its task if that doesn't end; None: log it.
        own_time: replaces the limit, for code that wraps something else.

    Raises:
        BaseException: what it raised, or what `late` made.
    """
    task = own_task(_kept(coroutine), name, OWNER.get())
    cancelled: asyncio.CancelledError | None = None
    waits: list[asyncio.Future[Any]] = [task]
    if own_time is not None:
        waits.append(own_time.over)
    try:
        await asyncio.wait(waits, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError as error:
        cancelled = error
    finally:
        if own_time is not None:
            own_time.pause()
    if task.done():
        return task.result().value()
    if not await _cut_off(task):
        (on_abandoned or _tell)(task)
    elif not task.cancelled() and task.result().error is None:
        return task.result().value()
    if cancelled is not None:
        raise cancelled
    raise late() from _error_of(task)


class OwnTime:
    """A time limit for code that wraps something else, whose time does not count: the limit applies before
    and after it.

    Attributes:
        over: done when the time is over.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self.over: asyncio.Future[None] = self._loop.create_future()
        self._timer = self._loop.call_later(seconds, self._end)

    def pause(self) -> None:
        """The wrapped code starts."""
        self._timer.cancel()

    def go_on(self) -> None:
        """The wrapped code has ended; the limit starts again."""
        self._timer.cancel()
        self._timer = self._loop.call_later(self._seconds, self._end)

    def _end(self) -> None:
        if not self.over.done():
            self.over.set_result(None)


class _Kept(Generic[R]):
    """The result of a coroutine. Raised out of a task, a SystemExit would end the loop."""

    def __init__(self, result: R | None, error: BaseException | None) -> None:
        self.error = error
        self._result = result

    def value(self) -> R:
        """The result; raises the error if there was one."""
        if self.error is not None:
            raise self.error
        return cast("R", self._result)


async def _kept(coroutine: Coroutine[Any, Any, R]) -> _Kept[R]:
    try:
        return _Kept(await coroutine, None)
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        return _Kept(None, error)


async def _cut_off(task: OwnTask[Any]) -> bool:
    """Cancel a task twice; returns whether it ended."""
    for _ in range(2):
        task.end()
        await outlast(task, GRACE_S)
        if task.done():
            return True
    return False


async def outlast(future: asyncio.Future[Any], seconds: float) -> None:
    """Wait up to this long, even while we are cancelled."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not future.done() and (left_s := deadline - loop.time()) > 0:
        try:
            await asyncio.wait([future], timeout=left_s)
        except asyncio.CancelledError:
            continue


def _error_of(task: OwnTask[_Kept[R]]) -> BaseException | None:
    return None if not task.done() or task.cancelled() else task.result().error


def _tell(task: OwnTask[Any]) -> None:
    message = "%s does not end when cancelled; it was abandoned and may still be running"
    _log.error(message, task.get_name())
