"""A forked child of a process that works jobs works none of them.

A child that ends by itself (of `multiprocessing`, or by `os._exit`) is its task's own matter. One that comes
back to where jobs are worked, since a task called `os.fork` and let the child go on, would do
all that its parent does a second time: it is ended with a message.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn, TypeVar
from weakref import WeakValueDictionary

T = TypeVar("T")

EXIT_CODE = 70
_WORDS = (
    "resqpy: process {pid} is a forked child of a worker and came back from its task (os.fork without "
    "os._exit), where it would work its parent's jobs: it was ended. Use multiprocessing or subprocess, "
    "or end the child by os._exit in the task.\n"
)

_loops: WeakValueDictionary[int, asyncio.AbstractEventLoop] = WeakValueDictionary()  # by thread


class _Generation:
    """How often this process was forked off, from the first one on."""

    number = 0


def works_here() -> None:
    """Note that jobs are worked on the running loop."""
    _loops[threading.get_ident()] = asyncio.get_running_loop()


def generation() -> int:
    """A number that a forked child has another one of."""
    return _Generation.number


def end_child(born: int) -> None:
    """End this process if it was forked off since its `generation` was asked for."""
    if born != _Generation.number:
        _end()


def called(function: Callable[..., T], *args: object) -> T:
    """What a plain function returns: once, also if it forks."""
    born = _Generation.number
    try:
        return function(*args)
    finally:
        end_child(born)


def _end() -> NoReturn:
    try:
        with suppress(OSError):
            os.write(2, _WORDS.format(pid=os.getpid()).encode())
    finally:
        os._exit(EXIT_CODE)


def _in_child() -> None:
    _Generation.number += 1
    loop = _loops.get(threading.get_ident())
    _loops.clear()
    if loop is None or not loop.is_running():
        return
    steps = 1
    ready = getattr(loop, "_ready", None)  # of asyncio's own loops; uvloop shows it to nobody
    if isinstance(ready, deque):
        steps += len(ready)
        ready.clear()
    for _ in range(steps):  # as many as the loop is about to take out
        loop.call_soon(_end)


os.register_at_fork(after_in_child=_in_child)
