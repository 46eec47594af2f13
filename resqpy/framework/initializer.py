"""Initializers: what a project sets up at boot and takes down at the end."""

from __future__ import annotations

from typing import Any, ClassVar

from resqpy.base.errors import UsageError
from resqpy.base.imports import misspelled
from resqpy.base.when import Duration, duration_ms

PRIORITIES = ("load_priority", "start_priority", "stop_priority")
_KNOWN = ("name", "initialize", "start", "stop", "start_timeout", "stop_timeout", *PRIORITIES)


class Initializer:
    """Base of all initializers: override what you need; the methods may be async or plain.

    The lower the priority, the earlier. Resqpy's own: redis (100), then the queue and `api.tasks`
    (200) are initialized before a project's; worker and scheduler are started last (9000) and stopped
    first (100), so whatever a task needs is there while it runs. Redis goes last (99999).

    At a stop, of those with the same priority the last that was initialized is the first.

    Attributes:
        name: `api.<name>` is what `initialize` returns. Default: the class's name with a small first
            letter.
        start_timeout: how long `initialize` and `start` may take each, milliseconds or a timedelta: then
            they are cancelled, and the process does not start. None: without limit.
        stop_timeout: how long `stop` may take, milliseconds or a timedelta: then it is cancelled and
            the others are stopped.
    """

    name: ClassVar[str] = ""
    load_priority: ClassVar[int] = 1000
    start_priority: ClassVar[int] = 1000
    stop_priority: ClassVar[int] = 1000
    start_timeout: ClassVar[Duration | None] = 60_000
    stop_timeout: ClassVar[Duration | None] = 10_000

    def initialize(self) -> Any:
        """Make what `api.<name>` is to be; None: nothing."""

    def start(self) -> Any:
        """Begin to work; everything is initialized."""

    def stop(self) -> Any:
        """End; called if it was initialized, also where `start` failed or was not reached."""

    @classmethod
    def title(cls) -> str:
        """The name."""
        return cls.name or cls.__name__[:1].lower() + cls.__name__[1:]


def check_initializer(found: Any) -> type[Initializer]:
    """An initializer, if it can be used.

    Raises:
        UsageError: it is none, a name in it is misspelled, or a priority or time limit is no number.
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
