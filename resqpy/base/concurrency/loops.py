"""Objects that live on one event loop, used from another one.

A connection belongs to the loop on which it was used first. A call from another loop (an `asyncio.run`
in a plain task, a view in a thread, a test's own loop) is handed to that loop, which does it once; where
that loop can't, the caller is told so at once.
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

_LOOK_S = 1.0  # how often it is seen whether the other loop still runs


class Home:
    """The event loop of an object.

    Args:
        what: what a person knows the object by.
        on_move: called when another loop becomes its home: the first was closed, or is another process'.

    Attributes:
        loop: the loop, once there is one.
    """

    __slots__ = ("_on_move", "_pid", "_thread", "_what", "loop")

    def __init__(self, what: str, on_move: Callable[[], None] = lambda: None) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self._what = what
        self._on_move = on_move
        self._thread = self._pid = 0

    def elsewhere(self) -> asyncio.AbstractEventLoop | None:
        """The loop that a call is to be handed to; None: the caller is at home.

        Raises:
            WrongLoop: that loop can't do it: it stands still, or it waits for the caller.
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
                f"{self._what} belongs to another event loop, which does not run now; use it there, or "
                "close that loop first"
            )
        if self._thread == threading.get_ident():
            raise WrongLoop(
                f"{self._what} belongs to the event loop that runs around this one in the same thread, "
                "which would wait for itself; await the call there"
            )
        return home


def hand_over(
    home: asyncio.AbstractEventLoop, function: Callable[[], Coroutine[Any, Any, R]]
) -> asyncio.Task[R]:
    """Do something on another loop, and have its result on this one."""
    return asyncio.get_running_loop().create_task(_handed(home, function))


async def _handed(
    home: asyncio.AbstractEventLoop, function: Callable[[], Coroutine[Any, Any, R]]
) -> R:
    coroutine = function()
    try:
        theirs = asyncio.run_coroutine_threadsafe(coroutine, home)
    except RuntimeError as error:  # closed since
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
        "the event loop that owns this connection stopped meanwhile; it may or may not have been done"
    )


class HasHome(Protocol):
    """An object that lives on one loop from its start on."""

    home: Home


S = TypeVar("S", bound=HasHome)


def on_its_loop(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
    """Decorate an async method: a call from another loop than that of the object is handed to it."""

    @wraps(method)
    async def there(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        call = partial(method, self, *args, **kwargs)
        if self.home.loop is None or (home := self.home.elsewhere()) is None:
            return await call()
        return await hand_over(home, call)

    return there
