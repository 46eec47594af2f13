"""A small event emitter: the `on` / `once` of node-resque, in Python.

Listeners are plain functions or coroutine functions; the latter run as tasks of their own.
A listener that raises never harms the emitter: the error goes to `on_listener_error`.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from functools import wraps
from typing import Any, ClassVar

from resqpy.base.errors import UsageError
from resqpy.base.imports import near_match

Listener = Callable[..., Any]

_log = logging.getLogger("resqpy.events")


def _is(known: Listener, listener: Listener) -> bool:
    """By equality: each look at a method makes another object."""
    return known == listener or getattr(known, "__wrapped__", None) == listener


class Emitter:
    """Keeps listeners by event name.

    Attributes:
        EVENTS: those that it tells; empty: of any name.
    """

    EVENTS: ClassVar[frozenset[str]] = frozenset()

    def __init__(self) -> None:
        self._listeners: dict[str, list[Listener]] = {}
        self._running: set[asyncio.Future[Any]] = set()

    def on(self, event: str, listener: Listener) -> Listener:
        """Call `listener` at each `event`; returns it, so that `off` can take it back.

        Raises:
            UsageError: nothing of that name is ever told.
        """
        if self.EVENTS and event not in self.EVENTS:
            known = ", ".join(sorted(self.EVENTS))
            raise UsageError(
                f"there is no event {event!r}{near_match(event, self.EVENTS)} (events: {known})"
            )
        self._listeners.setdefault(event, []).append(listener)
        return listener

    def once(self, event: str, listener: Listener) -> Listener:
        """Call `listener` at the next `event` only."""

        @wraps(listener)  # which `off` knows it by
        def first(*args: Any) -> Any:
            self.off(event, first)
            return listener(*args)

        return self.on(event, first)

    def off(self, event: str, listener: Listener | None = None) -> None:
        """Forget one listener of an event, also one of `once`, or all of them."""
        if listener is None:
            self._listeners.pop(event, None)
            return
        kept = [each for each in self._listeners.get(event, ()) if not _is(each, listener)]
        self._listeners[event] = kept

    def heard(self, event: str) -> bool:
        """Whether anybody listens: what is costly to tell needn't be told to nobody."""
        return bool(self._listeners.get(event))

    def emit(self, event: str, *args: Any) -> None:
        """Tell all listeners of `event`."""
        listeners = self._listeners.get(event)
        if not listeners:
            return
        for listener in tuple(listeners):
            try:
                result = listener(*args)
                if inspect.isawaitable(result):
                    self._follow(event, result)
            except KeyboardInterrupt:
                raise
            except BaseException:  # a CancelledError or SystemExit of its own, too
                self.on_listener_error(event)

    def on_listener_error(self, event: str) -> None:
        """A listener raised: log it, go on."""
        _log.exception("a listener of %r failed", event)

    def _follow(self, event: str, awaitable: Any) -> None:
        task = asyncio.ensure_future(self._awaited(event, awaitable))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _awaited(self, event: str, awaitable: Any) -> None:
        try:
            await awaitable
        except asyncio.CancelledError:
            raise
        except BaseException:  # out of a task, a SystemExit would end the loop
            self.on_listener_error(event)
