"""The order of a boot: initialize by load priority, start by start priority, stop by stop priority."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Sequence
from typing import Any

from resqpy.base.error_text import repr_of
from resqpy.base.errors import ResqpyError, UsageError
from resqpy.base.when import duration_s
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
            value = await self._called(each, each.initialize)
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
            await self._called(each, each.start)

    async def _called(self, each: Initializer, method: Any) -> Any:
        """Call it; its words alone ("no such file") would not tell whose they are."""
        try:
            return await _called(method)
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
                await _stopped(each)
            except Exception as error:  # a user's code may raise anything
                get_logger().error(
                    "initializer failed to stop",
                    name=each.title(),
                    error=repr_of(error),
                    exc_info=True,
                )


async def _stopped(each: Initializer) -> None:
    """Stop it within its time; without a limit no process would end because of one that hangs."""
    if each.stop_timeout is None:
        await _called(each.stop)
        return
    limit_s = duration_s(each.stop_timeout)
    limit = asyncio.timeout(limit_s)
    try:
        async with limit:
            await _called(each.stop)
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise TimeoutError(
            f"its stop took longer than its stop_timeout of {limit_s:g} s"
        ) from error


async def _called(method: Any) -> Any:
    result = method()
    return await result if inspect.isawaitable(result) else result
