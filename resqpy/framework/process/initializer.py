"""Initializers: what a project sets up at boot and tears down at the end."""

from __future__ import annotations

from typing import Any, ClassVar

from resqpy.base.errors import UsageError
from resqpy.base.imports import misspelled
from resqpy.base.when import Duration, duration_ms

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
