"""Plugins: node-resque's four hooks on top of an onion.

A plugin is made once for each task that names it, with the options the task gives; what belongs to
one run stands in `run.state`. A veto unwinds the plugins that were already entered, so a lock that
one of them took is freed again (node-resque keeps it for an hour).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from resqpy.base.errors import UnknownOption
from resqpy.base.imports import near_match
from resqpy.base.keys import Keys
from resqpy.engine.run import Run
from resqpy.store.queues import Guard

CallNext = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Enqueuing:
    """A job on its way into a queue, as the enqueue hooks see it.

    Attributes:
        queue_object: the `Queue` that enqueues it.
    """

    class_name: str
    queue: str
    args: list[Any]
    queue_object: Any = None


class Plugin:
    """Base of all plugins: override the hooks you need, or `around`.

    Args:
        options: what `plugin_options` has for this plugin; node-resque's camelCase names are taken
            as well.

    Raises:
        UnknownOption: an option that `option_names` doesn't have.
    """

    option_names: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        self.options = {snake_case(name): value for name, value in (options or {}).items()}
        for name in self.options:
            if name not in self.option_names:
                known = ", ".join(sorted(self.option_names)) or "none"
                raise UnknownOption(
                    f"unknown option {name!r} for plugin {self.name}"
                    f"{near_match(name, self.option_names)} (options: {known})"
                )

    @property
    def name(self) -> str:
        """The name under which `plugin_options` has its options."""
        return type(self).__name__

    def guards(self, keys: Keys, job: Enqueuing) -> Sequence[Guard]:
        """Locks that Redis asks in the very step that pushes the job."""
        return ()

    async def before_enqueue(self, job: Enqueuing) -> bool:
        """False: don't enqueue."""
        return True

    async def after_enqueue(self, job: Enqueuing) -> None:
        """The job is in its queue."""

    async def before_perform(self, run: Run) -> bool:
        """False: don't run; `run.outcome` may say what becomes of the job instead."""
        return True

    async def after_perform(self, run: Run) -> None:
        """It ran; `run.error` is what it raised, and may be cleared. Raising fails the job."""

    async def around(self, run: Run, call_next: CallNext) -> None:
        """The whole of one run: before, the rest, after."""
        if await self.before_perform(run) is False:
            run.vetoed = True
            return
        try:
            await call_next()
        finally:
            await self.after_perform(run)


def overrides(plugin: Plugin, *hooks: str) -> bool:
    """Whether a plugin has one of the hooks of its own: hooks nobody wrote are not awaited."""
    return any(getattr(type(plugin), hook) is not getattr(Plugin, hook) for hook in hooks)


_HUMP = re.compile(r"(?<=[a-z0-9])([A-Z])")


def snake_case(name: str) -> str:
    """`lockTimeout` → `lock_timeout`."""
    return _HUMP.sub(r"_\1", name).lower()
