"""Plugins: node-resque's four hooks, built as an onion.

A plugin is created once for each task that names it, with that task's options; state of a single run is
kept in `run.state`. A veto unwinds the plugins that were already entered, so a lock that one of them took
is freed again (node-resque keeps it for an hour).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, ClassVar

from resqpy.base.errors import UnknownOption
from resqpy.base.imports import near_match
from resqpy.base.keys import Keys
from resqpy.base.when import Duration, duration_s
from resqpy.engine.lifecycle import RetryPolicy
from resqpy.engine.run import Run
from resqpy.store.queues import Guard

CallNext = Callable[[], Awaitable[None]]

ENQUEUE_HOOKS = ("before_enqueue", "after_enqueue")
PERFORM_HOOKS = ("before_perform", "after_perform", "around")


@dataclass(slots=True)
class Enqueuing:
    """A job about to be enqueued, as the enqueue hooks see it.

    Attributes:
        args: `before_enqueue` may change or replace them, unless they are fixed.
        queue_object: the `Queue` that enqueues it.
        fixed: its bytes already exist (it was delayed, has failed, or comes from a Ruby schedule): hooks
            can only forbid it.
    """

    class_name: str
    queue: str
    args: list[Any]
    queue_object: Any = None
    fixed: bool = False

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "args" and hasattr(self, name):
            raise AttributeError(f"the {name} of a job can't be changed, only its args", name=name)
        object.__setattr__(self, name, value)


class Plugin:
    """Base of all plugins: override the hooks you need, or `around`.

    The hooks may be plain functions instead of coroutine functions; those run on the event loop, so they
    must not block.

    Args:
        options: this plugin's `plugin_options`; node-resque's camelCase names are accepted too.

    Attributes:
        option_names: the options that it knows, in snake case.
        hook_timeout: time limit of the plugin's own code at an enqueue, and before and after a run
            (milliseconds or a timedelta): then it is cancelled, and the enqueue or the job fails with
            `HookTimeout`. None: no limit. What it calls in between, the job itself, does not count.
        rank: plugins of a higher rank wrap those of a lower one; with equal ranks (all but two are 0) the
            order of the task's list decides.

    Raises:
        UnknownOption: an option that `option_names` doesn't have.
    """

    option_names: ClassVar[frozenset[str]] = frozenset()
    rank: ClassVar[int] = 0
    hook_timeout: ClassVar[Duration | None] = 30_000

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        self.options: dict[str, Any] = {
            self._known(name): value for name, value in (options or {}).items()
        }

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        for hook in (*ENQUEUE_HOOKS, *PERFORM_HOOKS):
            own = cls.__dict__.get(hook)
            if inspect.isfunction(own) and not inspect.iscoroutinefunction(own):
                setattr(cls, hook, _awaitable(own))

    def _known(self, given: str) -> str:
        name = snake_case(given)
        if name in self.option_names:
            return name
        known = sorted(self.option_names if given == name else map(camel_case, self.option_names))
        raise UnknownOption(
            f"unknown option {given!r} for plugin {self.name}{near_match(given, known)} "
            f"(options: {', '.join(known) or 'none'})"
        )

    def option(self, name: str, default: Any = None) -> Any:
        """An option's value; None counts as not given, as in node-resque."""
        value = self.options.get(name)
        return default if value is None else value

    @property
    def hook_limit_s(self) -> float | None:
        """`hook_timeout` in seconds."""
        limit = self.hook_timeout
        return None if limit is None else duration_s(limit, f"hook_timeout of {self.name}")

    @property
    def name(self) -> str:
        """The name under which `plugin_options` has its options."""
        return type(self).__name__

    def retries(self) -> RetryPolicy | None:
        """How a failed run is retried, if this plugin decides that."""
        return None

    def guards(self, keys: Keys, job: Enqueuing) -> Sequence[Guard]:
        """Locks that are checked in the same step that pushes the job."""
        return ()

    async def before_enqueue(self, job: Enqueuing) -> bool | None:
        """May change `job.args`. False: don't enqueue."""
        return True

    async def after_enqueue(self, job: Enqueuing) -> None:
        """The job has been enqueued."""

    async def before_perform(self, run: Run) -> bool | None:
        """False: don't run; `run.outcome` may set another outcome for the job."""
        return True

    async def after_perform(self, run: Run) -> None:
        """It ran, or a later plugin forbade it (`run.vetoed`); `run.error` is what it raised, and may be
        cleared or replaced. Raising fails the job.
        """

    async def around(self, run: Run, call_next: CallNext) -> None:
        """Wraps one run: before, the rest, after.

        `call_next` never raises what the task raised: that is in `run.error` afterwards. Not calling it is
        a veto.
        """
        if await self.before_perform(run) is False:
            run.vetoed = True
            return
        try:
            await call_next()
        finally:
            await self.after_perform(run)


def overrides(plugin: Plugin, *hooks: str) -> bool:
    """Whether a plugin defines one of the hooks; others are not awaited."""
    return any(getattr(type(plugin), hook) is not getattr(Plugin, hook) for hook in hooks)


def _awaitable(hook: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    """Wrap a plain function as an awaitable hook."""

    @wraps(hook)
    async def awaited(*args: Any) -> Any:
        result = hook(*args)
        return await result if inspect.isawaitable(result) else result

    return awaited


_HUMP = re.compile(r"(?<=[a-z0-9])([A-Z])")


def snake_case(name: str) -> str:
    """`lockTimeout` → `lock_timeout`."""
    return _HUMP.sub(r"_\1", name).lower()


def camel_case(name: str) -> str:
    """`lock_timeout` → `lockTimeout`."""
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)
