"""Calls that do nothing until they are awaited; one that nobody awaits is a lost job, and is told loudly."""

from __future__ import annotations

import asyncio
import inspect
import logging
import sys
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from resqpy.base.errors import NoEventLoop

S = TypeVar("S")
P = ParamSpec("P")
R = TypeVar("R")

Subject = Callable[[Any, tuple[Any, ...], dict[str, Any]], str]

LOST: deque[str] = deque(maxlen=100)  # what was told, for who runs tests

_log = logging.getLogger("resqpy")
_MARK_OF_3_11 = getattr(asyncio.coroutines, "_is_coroutine", None)
_mark: Callable[[Any], Any] = getattr(inspect, "markcoroutinefunction", lambda function: function)


class Pending(Coroutine[Any, Any, R]):
    """A coroutine that tells if it was never begun.

    Args:
        call: what was called, and with what, for its words.
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
        """As a coroutine has it; who closes it knows that it was not awaited."""
        self._begun = True
        self._coroutine.close()

    def __del__(self) -> None:
        if self._begun or sys.is_finalizing():
            return
        self._coroutine.close()  # so that Python doesn't warn as well
        file, line = self._caller
        words = (
            f"{self._call()} was never awaited, so nothing was enqueued: write `await` before it "
            f"({file}:{line})"
        )
        LOST.append(words)
        _log.error(words)


def must_be_awaited(
    subject: Subject, *, needs_loop: bool = False
) -> Callable[
    [Callable[Concatenate[S, P], Coroutine[Any, Any, R]]],
    Callable[Concatenate[S, P], Coroutine[Any, Any, R]],
]:
    """Decorate an async method: a call that is not awaited is an error in the log.

    Args:
        subject: what a call was about, in words; given the object and the arguments.
        needs_loop: a call where no event loop runs raises `NoEventLoop` at once.
    """

    def decorate(
        method: Callable[Concatenate[S, P], Coroutine[Any, Any, R]],
    ) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
        @wraps(method)
        def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
            def words() -> str:
                return f"{method.__name__} of {subject(self, args, kwargs)}"

            if needs_loop:
                _need_loop(words)
            frame = sys._getframe(1)  # noqa: SLF001 - of all ways to the caller the cheapest
            caller = (frame.f_code.co_filename, frame.f_lineno)
            return Pending(method(self, *args, **kwargs), words, caller)

        vars(call)["_is_coroutine"] = _MARK_OF_3_11
        marked: Callable[Concatenate[S, P], Coroutine[Any, Any, R]] = _mark(call)
        return marked

    return decorate


def _need_loop(words: Callable[[], str]) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise NoEventLoop(
            f"{words()}: no event loop runs here, so nobody can await it, and nothing was enqueued. Make "
            "the function async and await the call; or await it in an async function that "
            "`asyncio.run(…)` runs; or enqueue by resqpy.SyncQueue(url).enqueue(queue, task, [inputs])"
        ) from None
