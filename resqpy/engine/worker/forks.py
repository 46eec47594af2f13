"""A forked child of a process that runs jobs runs none of them.

A child that ends by itself (of `multiprocessing`, or by `os._exit`) is the task's own business. One that
returns to the code that runs jobs, because a task called `os.fork` and let the child continue, would repeat
everything that its parent does: it is ended with a message.
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
    "resqpy: process {pid} is a forked child of a worker and returned from its task (os.fork without "
    "os._exit), where it would run its parent's jobs: it was ended. Use multiprocessing or subprocess, or end "
    "the child with os._exit in the task.\n"
)

_loops: WeakValueDictionary[int, asyncio.AbstractEventLoop] = WeakValueDictionary()  # by thread


class _Generation:
    """How many forks lie between the first process and this one."""

    number = 0


def works_here() -> None:
    """Note that jobs run on the current loop."""
    _loops[threading.get_ident()] = asyncio.get_running_loop()


def generation() -> int:
    """A number that differs in a forked child."""
    return _Generation.number


def end_child(born: int) -> None:
    """End this process if it was forked after its `generation` was read."""
    if born != _Generation.number:
        _end()


def called(function: Callable[..., T], *args: object) -> T:
    """The result of a plain function: returned once, even if it forks."""
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
    ready = getattr(loop, "_ready", None)  # of asyncio's own loops; uvloop's is not accessible
    if isinstance(ready, deque):
        steps += len(ready)
        ready.clear()
    for _ in range(steps):  # as many as the loop is about to remove
        loop.call_soon(_end)


os.register_at_fork(after_in_child=_in_child)
