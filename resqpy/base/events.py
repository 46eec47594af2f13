"""A small event emitter: node-resque's `on` / `once` in Python.

Listeners are plain functions or coroutine functions; the latter run as separate tasks. A listener that
raises never affects the emitter: the error goes to `on_listener_error`.
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
    """By equality: each access to a method creates another object."""
    return known == listener or getattr(known, "__wrapped__", None) == listener


class Emitter:
    """Keeps listeners by event name.

    Attributes:
        EVENTS: the events it emits; empty: any name.
    """

    EVENTS: ClassVar[frozenset[str]] = frozenset()

    def __init__(self) -> None:
        self._listeners: dict[str, list[Listener]] = {}
        self._running: set[asyncio.Future[Any]] = set()

    def on(self, event: str, listener: Listener) -> Listener:
        """Call `listener` at each `event`; returns it, so that `off` can remove it.

        Raises:
            UsageError: there is no event of that name.
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

        @wraps(listener)  # lets `off` find it
        def first(*args: Any) -> Any:
            self.off(event, first)
            return listener(*args)

        return self.on(event, first)

    def off(self, event: str, listener: Listener | None = None) -> None:
        """Remove one listener of an event (also one added by `once`), or all of them."""
        if listener is None:
            self._listeners.pop(event, None)
            return
        kept = [each for each in self._listeners.get(event, ()) if not _is(each, listener)]
        self._listeners[event] = kept

    def has_listeners(self, event: str) -> bool:
        """Whether anybody listens; events without listeners need not be built."""
        return bool(self._listeners.get(event))

    def emit(self, event: str, *args: Any) -> None:
        """Call all listeners of `event`."""
        listeners = self._listeners.get(event)
        if not listeners:
            return
        for listener in tuple(listeners):
            try:
                result = listener(*args)
                if result is not None and inspect.isawaitable(result):
                    self._follow(event, result)
            except KeyboardInterrupt:
                raise
            except BaseException:  # also its own CancelledError or SystemExit
                self.on_listener_error(event)

    def on_listener_error(self, event: str) -> None:
        """A listener raised: log it and continue."""
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
        except BaseException:  # a SystemExit out of a task would end the loop
            self.on_listener_error(event)
