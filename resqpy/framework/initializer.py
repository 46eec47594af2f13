"""Initializers: what a project sets up at boot and takes down at the end."""

from __future__ import annotations

from typing import Any, ClassVar


class Initializer:
    """Base of all initializers: override what you need; the methods may be async or plain.

    The lower the priority, the earlier. Resqpy's own: redis (100), then the queue and `api.tasks`
    (200) are initialized before a project's; worker and scheduler are started last (9000) and stopped
    first (100), so whatever a task needs is there while it runs. Redis goes last (99999).

    Attributes:
        name: `api.<name>` is what `initialize` returns. Default: the class's name with a small first
            letter.
    """

    name: ClassVar[str] = ""
    load_priority: ClassVar[int] = 1000
    start_priority: ClassVar[int] = 1000
    stop_priority: ClassVar[int] = 1000

    def initialize(self) -> Any:
        """Make what `api.<name>` is to be; None: nothing."""

    def start(self) -> Any:
        """Begin to work; everything is initialized."""

    def stop(self) -> Any:
        """End; called in reverse only by what the priorities say, and only if it was initialized."""

    @classmethod
    def title(cls) -> str:
        """The name."""
        return cls.name or cls.__name__[:1].lower() + cls.__name__[1:]
