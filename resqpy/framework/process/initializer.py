"""Initializers: what a project sets up at boot and tears down at the end; and their order."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar

from resqpy.base.concurrency.limited import within
from resqpy.base.concurrency.own_tasks import raise_if_cancelled
from resqpy.base.errors import HookTimeout, ResqpyError, UsageError, repr_of
from resqpy.base.imports import misspelled
from resqpy.base.when import Duration, duration_ms, duration_s
from resqpy.framework.api.api import Bound
from resqpy.framework.logs.log import get_logger

PRIORITIES = ("load_priority", "start_priority", "stop_priority")
_KNOWN = ("name", "initialize", "start", "stop", "start_timeout", "stop_timeout", *PRIORITIES)


class Initializer:
    """Base of all initializers: override what you need; the methods may be async or plain.

    Lower priorities run earlier. Resqpy's own initializers, redis (100), then the queue and `api.tasks`
    (200), are initialized before a project's; worker and scheduler are started last (9000) and stopped
    first (100), so whatever a task needs exists while it runs. Redis is stopped last (99999).

    When stopping, initializers with the same priority are stopped in reverse order of initialization.

    Attributes:
        name: `api.<name>` is what `initialize` returns. Default: the class's name with a lower-case first
            letter.
        start_timeout: time limit for each of `initialize` and `start`, milliseconds or a timedelta: then
            they are cancelled, and the process does not start. None: no limit.
        stop_timeout: time limit for `stop`, milliseconds or a timedelta: then it is cancelled and the
            others are stopped.
    """

    name: ClassVar[str] = ""
    load_priority: ClassVar[int] = 1000
    start_priority: ClassVar[int] = 1000
    stop_priority: ClassVar[int] = 1000
    start_timeout: ClassVar[Duration | None] = 60_000
    stop_timeout: ClassVar[Duration | None] = 10_000

    def initialize(self) -> Any:
        """Create what `api.<name>` refers to; None: nothing."""

    def start(self) -> Any:
        """Start working; everything is initialized."""

    def stop(self) -> Any:
        """Stop; called if it was initialized, even if `start` failed or was not reached."""

    @classmethod
    def title(cls) -> str:
        """The name."""
        return cls.name or cls.__name__[:1].lower() + cls.__name__[1:]


def check_initializer(found: Any) -> type[Initializer]:
    """The initializer, if it is valid.

    Raises:
        UsageError: it is not an initializer, a name in it is misspelled, or a priority or time limit is not
            a number.
    """
    if not (isinstance(found, type) and issubclass(found, Initializer)):
        raise UsageError(f"{found!r} is not a class derived from Initializer")
    title = f"initializer {found.title()!r}"
    for wrong in misspelled(found, Initializer, _KNOWN):
        raise UsageError(f"{title} {wrong}")
    for priority in PRIORITIES:
        value = getattr(found, priority)
        if not isinstance(value, int | float):
            raise UsageError(f"{title}: {priority} is {value!r}, not a number")
    for option in ("start_timeout", "stop_timeout"):
        if getattr(found, option) is not None:
            duration_ms(getattr(found, option), f"{title}: {option}")
    return found


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
