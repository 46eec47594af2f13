"""Our tasks on a loop shared with users' code: jobs can't cancel them.

A job that calls `for task in asyncio.all_tasks(): task.cancel()`, or `loop.stop()`, means its own tasks.
Each run owns the code that it runs, by a context variable that its tasks and threads inherit; one of our
tasks can be cancelled by its owner or by code outside any job. So a loop that is being closed still cancels
them all.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from typing import Any, TypeVar

from resqpy.base.shadowing import out_of_shadow

R = TypeVar("R")

_log = logging.getLogger("resqpy")

OWNER: contextvars.ContextVar[object] = contextvars.ContextVar("resqpy_owner", default=None)

_END_WITHIN_S = 3.0  # granted to running tasks at the end of a program
_PASSES = 4  # iterations of the loop within which a cancellation reaches the awaiting code
_swept: set[asyncio.AbstractEventLoop] = set()


class OwnTask(asyncio.Task[R]):
    """A task that only its own job can cancel."""

    __slots__ = ("owner",)  # one is created for each job

    owner: object

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel it, unless the caller is a job that doesn't own it."""
        asking = OWNER.get()
        if asking is None or asking is self.owner:
            return super().cancel(msg)
        _note_sweep(self.get_loop(), asking)
        return False

    def end(self) -> bool:
        """Cancel it, whoever calls."""
        return super().cancel()


def own_task(
    coroutine: Coroutine[Any, Any, R], name: str | None = None, owner: object = None
) -> OwnTask[R]:
    """Start a coroutine as a task of ours; one that no job owns is part of no shadow run either."""
    token = OWNER.set(owner)  # for the context that the task copies
    try:
        with out_of_shadow() if owner is None else nullcontext():
            task: OwnTask[R] = OwnTask(coroutine, loop=asyncio.get_running_loop(), name=name)
    finally:
        OWNER.reset(token)
    task.owner = owner
    return task


async def first_done(*futures: asyncio.Future[Any]) -> None:
    """Wait until one of several is done. A job that cancels all tasks does not end the wait; for code
    outside jobs.
    """
    while True:
        try:
            await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if not _spared():
                raise
        else:
            return


def _spared() -> bool:
    """Whether it was a job that cancelled the current task."""
    task = asyncio.current_task()
    if task is None or asyncio.get_running_loop() not in _swept:
        return False
    task.uncancel()
    return True


def _note_sweep(loop: asyncio.AbstractEventLoop, asking: object) -> None:
    if loop in _swept:
        return
    _swept.add(loop)
    _log.error("job %s cancelled tasks that are not its own; they continue", _name_of(asking))
    loop.call_soon_threadsafe(_forget_sweep, loop, _PASSES)


def _forget_sweep(loop: asyncio.AbstractEventLoop, passes: int) -> None:
    if passes:
        loop.call_soon(_forget_sweep, loop, passes - 1)
    else:
        _swept.discard(loop)


def is_cancelled() -> bool:
    """Whether the current task was cancelled; if not, a CancelledError leaked from elsewhere."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def uncancel() -> None:
    """Clear the cancellation of the current task, after acting on it."""
    task = asyncio.current_task()
    while task is not None and task.uncancel():
        pass


def raise_if_cancelled(error: BaseException) -> None:
    """For code where users' code may raise anything: a requested cancellation propagates."""
    if isinstance(error, asyncio.CancelledError) and is_cancelled():
        raise error


def _name_of(owner: object) -> str:
    return str(getattr(owner, "class_name", owner))


def keep_running(loop: asyncio.AbstractEventLoop) -> None:
    """Don't let jobs stop the loop; uvloop can't be patched, `run_on` handles it."""
    stop = loop.stop
    if getattr(stop, "__name__", "") == "stop_unless_asked_by_a_job":
        return

    def stop_unless_asked_by_a_job() -> None:
        if OWNER.get() is None:
            stop()
        else:
            _log.error("job %s tried to stop the event loop; it continues", _name_of(OWNER.get()))

    with contextlib.suppress(AttributeError):
        loop.stop = stop_unless_asked_by_a_job  # type: ignore[method-assign]  # that it can be is how it is done


def run_on(
    runner: asyncio.Runner, coroutine: Coroutine[Any, Any, R], may_interrupt: Callable[[], bool]
) -> R:
    """Run the main coroutine of a program to its end, whatever a job does to the loop.

    Args:
        may_interrupt: whether a KeyboardInterrupt can be a user's Ctrl-C.
    """
    loop = runner.get_loop()
    try:
        task = loop.run_until_complete(_as_own(coroutine))
        while not task.done():
            _run_further(loop, task, may_interrupt)
        return task.result()
    finally:
        if loop.run_until_complete(_end_all()):
            runner.close()  # which would wait for them without limit


async def _end_all() -> bool:
    """Cancel what still runs; returns whether all of it ended."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=_END_WITHIN_S)
    left = [task for task in others if not task.done()]
    for task in left:
        _log.error("%s does not end when cancelled; the program ends without it", task.get_name())
    return not left


def _run_further(
    loop: asyncio.AbstractEventLoop, task: OwnTask[Any], may_interrupt: Callable[[], bool]
) -> None:
    try:
        loop.run_until_complete(task)
    except BaseException as error:
        stopped = isinstance(error, RuntimeError | SystemExit)
        stopped = stopped or (isinstance(error, KeyboardInterrupt) and not may_interrupt())
        if task.done() or loop.is_closed() or not stopped:
            raise
        _log.exception("code in a job stopped the event loop; it continues")


async def _as_own(coroutine: Coroutine[Any, Any, R]) -> OwnTask[R]:
    return own_task(coroutine, "main")


# Bounded waiting: for an event, for the first of several; and measuring the loop's delay.

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


# Whether a KeyboardInterrupt in a task can be a user's Ctrl-C.
#
# If the program has a SIGINT handler (`framework/process/signals.py`), it can't: then the task raised it
# itself, and it is a failure like any other. Without one, Python raises it in whatever code is running, and
# it must end the program.

_answered: list[None] = []  # one for each part of the program that handles SIGINT itself


@contextmanager
def answered_elsewhere() -> Iterator[None]:
    """Declare that Ctrl-C raises nothing within the block."""
    _answered.append(None)
    try:
        yield
    finally:
        _answered.pop()


def may_interrupt() -> bool:
    """Whether Ctrl-C may raise KeyboardInterrupt in a task."""
    return not _answered
