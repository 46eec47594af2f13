"""The order of a boot: initialize by load priority, start by start priority, stop by stop priority."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from resqpy.base.error_text import repr_of
from resqpy.base.errors import HookTimeout, ResqpyError, UsageError
from resqpy.base.limited import within
from resqpy.base.own_tasks import raise_if_cancelled
from resqpy.base.when import Duration, duration_s
from resqpy.framework.api import Bound
from resqpy.framework.initializer import Initializer
from resqpy.framework.log import get_logger


class Boot:
    """Runs initializers.

    Args:
        initializers: resqpy's own and the project's.
        bound: gets what each `initialize` returns, under the initializer's name.
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
        """Call it; its words alone ("no such file") would not tell whose they are."""
        try:
            return await _limited(each, method, what, each.start_timeout)
        except Exception as error:
            if not isinstance(error, ResqpyError):
                name = f"{type(each).__module__}.{type(each).__qualname__}"
                get_logger().error("initializer failed", name=name, error=repr_of(error))
            raise

    async def stop(self) -> None:
        """Stop all that were initialized, among equals the last first; one that fails or hangs keeps
        none of the others from it.
        """
        made, self._made = self._made[::-1], []
        for each in sorted(made, key=lambda one: one.stop_priority):
            try:
                await _limited(each, each.stop, "stop", each.stop_timeout)
            except BaseException as error:  # a user's code may raise anything
                raise_if_cancelled(error)
                get_logger().error(
                    "initializer failed to stop",
                    name=each.title(),
                    error=repr_of(error),
                    exc_info=True,
                )


async def _limited(each: Initializer, method: Any, what: str, limit: Duration | None) -> Any:
    """Call it within its time; without a limit no process would begin or end because of one that hangs."""
    if limit is None:
        return await _called(method)
    seconds = duration_s(limit)
    option = "stop_timeout" if what == "stop" else "start_timeout"
    name = f"initializer {each.title()!r}"
    words = f"{name}: its {what} took longer than its {option} of {seconds:g} s"
    return await within(_called(method), seconds, lambda: HookTimeout(words), f"{what} of {name}")


async def _called(method: Any) -> Any:
    result = method()
    return await result if inspect.isawaitable(result) else result
