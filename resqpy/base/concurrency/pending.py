"""Calls that do nothing until awaited; one that nobody awaits is a lost job and is logged as an error."""

from __future__ import annotations

import asyncio
import inspect
import logging
import opcode
import sys
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from functools import wraps
from types import FrameType
from typing import Any, Concatenate, ParamSpec, TypeVar

from resqpy.base.errors import NoEventLoop

S = TypeVar("S")
P = ParamSpec("P")
R = TypeVar("R")

Subject = Callable[[Any, tuple[Any, ...], dict[str, Any]], str]

LOST: deque[str] = deque(maxlen=100)  # messages logged, for tests

_log = logging.getLogger("resqpy")
_MARK_OF_3_11 = getattr(asyncio.coroutines, "_is_coroutine", None)
_mark: Callable[[Any], Any] = getattr(inspect, "markcoroutinefunction", lambda function: function)


class Pending(Coroutine[Any, Any, R]):
    """A coroutine that reports if it was never started.

    Args:
        call: describes the call, for the message.
        caller: file and line.
    """

    __slots__ = ("_begun", "_call", "_caller", "_coroutine")

    def __init__(
        self, coroutine: Coroutine[Any, Any, R], call: Callable[[], str], caller: tuple[str, int]
    ) -> None:
        self._coroutine = coroutine
        self._call = call
        self._caller = caller
        self._begun = False

    def __await__(self) -> Generator[Any, Any, R]:
        self._begun = True
        return self._coroutine.__await__()

    def send(self, value: Any) -> Any:
        """As a coroutine has it."""
        self._begun = True
        return self._coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        """As a coroutine has it."""
        self._begun = True
        return self._coroutine.throw(*error)

    def close(self) -> None:
        """As a coroutine has it; an explicit close is not reported."""
        self._begun = True
        self._coroutine.close()

    def __del__(self) -> None:
        if self._begun or sys.is_finalizing():
            return
        self._coroutine.close()  # so that Python doesn't warn too
        file, line = self._caller
        message = f"{self._call()} was never awaited, so nothing was enqueued: add `await` ({file}:{line})"
        LOST.append(message)
        _log.error(message)


def must_be_awaited(
    subject: Subject, *, sync: Callable[[Any], str] | None = None
) -> Callable[
    [Callable[Concatenate[S, P], Coroutine[Any, Any, R]]],
    Callable[Concatenate[S, P], Coroutine[Any, Any, R]],
]:
    """Decorate an async method: a call that is not awaited logs an error.

    Args:
        subject: what a call was about, in words; given the object and the arguments.
        sync: what has the same verb for code without an event loop, given the object; a call where none runs
            raises `NoEventLoop` at once, which names it, unless it is the argument of a call, such as
            `asyncio.run`. None: it may be awaited later.
    """

    def decorate(
        method: Callable[Concatenate[S, P], Coroutine[Any, Any, R]],
    ) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
        @wraps(method)
        def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
            def message() -> str:
                return f"{method.__name__} of {subject(self, args, kwargs)}"

            frame = sys._getframe(1)  # noqa: SLF001 - of all ways to the caller the cheapest
            if sync is not None:
                _need_loop(message, lambda: f"{sync(self)}.{method.__name__}(…)", frame)
            caller = (frame.f_code.co_filename, frame.f_lineno)
            return Pending(method(self, *args, **kwargs), message, caller)

        vars(call)["_is_coroutine"] = _MARK_OF_3_11
        marked: Callable[Concatenate[S, P], Coroutine[Any, Any, R]] = _mark(call)
        return marked

    return decorate


_PAST = opcode.opmap.get("CACHE", 0)  # follows an instruction, and is none
_CALLS = {opcode.opmap[each] for each in ("PRECALL", "CALL") if each in opcode.opmap}


def _is_handed_on(frame: FrameType) -> bool:
    """Whether the next thing that the caller does is a call with it: `asyncio.run(send.enqueue(…))`, in which
    the loop begins after what it is to run was made.
    """
    code, at = frame.f_code.co_code, frame.f_lasti + 2
    while at < len(code) and code[at] == _PAST:
        at += 2
    return at < len(code) and code[at] in _CALLS


def _need_loop(words: Callable[[], str], instead: Callable[[], str], frame: FrameType) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        if _is_handed_on(frame):
            return  # if it is not awaited, that is logged, as in a loop
        raise NoEventLoop(
            f"{words()}: no event loop runs here, so nobody can await it, and nothing was enqueued. In "
            f"synchronous code write {instead()}; or make the function async and await the call"
        ) from None
