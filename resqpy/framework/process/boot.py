"""The boot of a process: its initializers in order. A project is loaded without it, and without logs."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from resqpy.base.concurrency.limited import within
from resqpy.base.concurrency.own_tasks import raise_if_cancelled
from resqpy.base.errors import HookTimeout, ResqpyError, UsageError, repr_of
from resqpy.base.when import Duration, duration_s
from resqpy.framework.api.api import Bound
from resqpy.framework.logs.log import get_logger
from resqpy.framework.process.initializer import Initializer


class Boot:
    """Runs initializers: initialize by load priority, start by start priority, stop by stop priority.

    Args:
        initializers: resqpy's own and the project's.
        bound: receives what each `initialize` returns, under the initializer's name.
    """

    def __init__(self, initializers: Sequence[Initializer], bound: Bound) -> None:
        self._all = list(initializers)
        self._bound = bound
        self._made: list[Initializer] = []

    async def initialize(self) -> None:
        """Initialize all.

        Raises:
            UsageError: two have the same name.
            Exception: whatever an initializer raised.
        """
        for each in sorted(self._all, key=lambda one: one.load_priority):
            name = each.title()
            value = await self._called(each, each.initialize, "initialize")
            self._made.append(each)
            if value is None:
                continue
            if name in self._bound.things:
                raise UsageError(
                    f"initializer {type(each).__qualname__}: api.{name} is taken; "
                    "give the initializer another name"
                )
            self._bound.things[name] = value

    async def start(self) -> None:
        """Start all."""
        for each in sorted(self._made, key=lambda one: one.start_priority):
            await self._called(each, each.start, "start")

    async def _called(self, each: Initializer, method: Any, what: str) -> Any:
        """Call it; the error's message alone ("no such file") would not tell which one failed."""
        try:
            return await _limited(each, method, what, each.start_timeout)
        except Exception as error:
            if not isinstance(error, ResqpyError):
                name = f"{type(each).__module__}.{type(each).__qualname__}"
                get_logger().error("initializer failed", name=name, error=repr_of(error))
            raise

    async def stop(self) -> None:
        """Stop all that were initialized, in reverse order among equals; one that fails or hangs doesn't
        prevent the others.
        """
        made, self._made = self._made[::-1], []
        for each in sorted(made, key=lambda one: one.stop_priority):
            try:
                await _limited(each, each.stop, "stop", each.stop_timeout)
            except BaseException as error:  # users' code may raise anything
                raise_if_cancelled(error)
                get_logger().error(
                    "initializer failed to stop",
                    name=each.title(),
                    error=repr_of(error),
                    exc_info=True,
                )


async def _limited(each: Initializer, method: Any, what: str, limit: Duration | None) -> Any:
    """Call it with its time limit; without one, an initializer that hangs would block the start or end of
    the process.
    """
    if limit is None:
        return await _called(method)
    seconds = duration_s(limit)
    option = "stop_timeout" if what == "stop" else "start_timeout"
    name = f"initializer {each.title()!r}"
    message = f"{name}: its {what} exceeded its {option} of {seconds:g} s"
    return await within(_called(method), seconds, lambda: HookTimeout(message), f"{what} of {name}")


async def _called(method: Any) -> Any:
    result = method()
    return await result if inspect.isawaitable(result) else result
