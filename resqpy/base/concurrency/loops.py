"""Objects that belong to one event loop, used from another.

A connection belongs to the loop that used it first. A call from another loop (an `asyncio.run` in a plain
task, a view in a thread, a test's own loop) is handed to that loop, which runs it once; if that loop can't,
the caller gets an error at once.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from resqpy.base.errors import OutcomeUnknown, WrongLoop

P = ParamSpec("P")
R = TypeVar("R")

_LOOK_S = 1.0  # how often to check whether the other loop still runs


class Home:
    """The event loop of an object.

    Args:
        what: the object's name in messages.
        on_move: called when another loop takes over, because the first was closed or belongs to another
            process.

    Attributes:
        loop: the loop; None until the first use.
    """

    __slots__ = ("_on_move", "_pid", "_thread", "_what", "loop")

    def __init__(self, what: str, on_move: Callable[[], None] = lambda: None) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self._what = what
        self._on_move = on_move
        self._thread = self._pid = 0

    def elsewhere(self) -> asyncio.AbstractEventLoop | None:
        """The loop to hand a call to; None: the current one.

        Raises:
            WrongLoop: that loop can't run it: it is not running, or it waits for the caller.
        """
        running = asyncio.get_running_loop()
        home = self.loop
        if home is running:
            return None
        if home is None or home.is_closed() or self._pid != os.getpid():
            self.loop, self._thread, self._pid = running, threading.get_ident(), os.getpid()
            if home is not None:
                self._on_move()
            return None
        if not home.is_running():
            raise WrongLoop(
                f"{self._what} belongs to another event loop, which is not running now; use it "
                "there, or close that loop first"
            )
        if self._thread == threading.get_ident():
            raise WrongLoop(
                f"{self._what} belongs to the event loop that runs around this one in the same "
                "thread, so it would wait for itself; await the call there"
            )
        return home

    def running(self) -> asyncio.AbstractEventLoop | None:
        """The loop, while it runs in this process."""
        home = self.loop
        if home is None or self._pid != os.getpid() or not home.is_running():
            return None
        return home


def hand_over(
    home: asyncio.AbstractEventLoop, function: Callable[[], Coroutine[Any, Any, R]]
) -> asyncio.Task[R]:
    """Run a function on another loop, and return its result here."""
    return asyncio.get_running_loop().create_task(_handed(home, function))


async def _handed(
    home: asyncio.AbstractEventLoop, function: Callable[[], Coroutine[Any, Any, R]]
) -> R:
    coroutine = function()
    try:
        theirs = asyncio.run_coroutine_threadsafe(coroutine, home)
    except RuntimeError as error:  # closed in the meantime
        coroutine.close()
        raise WrongLoop("the event loop of this connection was closed; nothing was done") from error
    ours = asyncio.wrap_future(theirs)
    try:
        while not ours.done():
            await asyncio.wait([ours], timeout=_LOOK_S)
            if not ours.done() and not home.is_running():
                break
        if ours.done() and not ours.cancelled():
            return ours.result()
    finally:
        ours.cancel()
    raise OutcomeUnknown(
        "the event loop that owns this connection stopped during the call; it may or may not have been done"
    )


class HasHome(Protocol):
    """An object that belongs to one loop from its start."""

    home: Home


S = TypeVar("S", bound=HasHome)


def on_its_loop(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
    """Decorate an async method: calls from another loop are handed to the object's loop."""

    @wraps(method)
    async def there(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        call = partial(method, self, *args, **kwargs)
        if self.home.loop is None or (home := self.home.elsewhere()) is None:
            return await call()
        return await hand_over(home, call)

    return there
