"""Plugins: node-resque's four hooks, built as an onion.

A plugin is created once for each task that names it, with that task's options; state of a single run is
kept in `run.state`. A veto unwinds the plugins that were already entered, so a lock that one of them took
is freed again (node-resque keeps it for an hour).
"""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import Any, ClassVar, Protocol, TypeVar

from resqpy.base.concurrency.limited import GRACE_S, within
from resqpy.base.concurrency.own_tasks import OwnTask
from resqpy.base.errors import HookTimeout, UnknownOption
from resqpy.base.imports import near_match
from resqpy.base.keys import Keys
from resqpy.base.when import Duration, duration_s
from resqpy.engine.lifecycle import Command, RetryPolicy
from resqpy.engine.run import Run
from resqpy.store.queues import Guard

R = TypeVar("R")
CallNext = Callable[[], Awaitable[None]]

ENQUEUE_HOOKS = ("before_enqueue", "after_enqueue")
DEQUEUE_HOOKS = ("before_dequeue", "after_dequeue")
PERFORM_HOOKS = ("before_perform", "after_perform", "around")


@dataclass(slots=True)
class Enqueuing:
    """A job about to be enqueued, as the enqueue hooks see it.

    Attributes:
        args: `before_enqueue` may change or replace them, unless they are fixed.
        queue_object: the `Queue` that enqueues it.
        fixed: its bytes already exist (it was delayed, has failed, or comes from a Ruby schedule): hooks
            can only forbid it.
        headers: `before_enqueue` may add texts that are sent beside the arguments, such as a trace. They
            are ignored where the bytes are fixed, for tracked tasks, and for jobs of a schedule.
        state: what hooks keep of it for each other.
    """

    class_name: str
    queue: str
    args: list[Any]
    queue_object: Any = None
    fixed: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    state: dict[Any, Any] = field(default_factory=dict)

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "args" and hasattr(self, name):
            raise AttributeError(f"the {name} of a job can't be changed, only its args", name=name)
        object.__setattr__(self, name, value)


@dataclass(slots=True)
class Dequeuing:
    """Jobs about to be removed from a queue, or just removed, as the dequeue hooks see them.

    Attributes:
        args: their arguments; None: jobs with any.
        queue_object: the `Queue` that removes them.
        removed: how many were; 0 before.
    """

    class_name: str
    queue: str
    args: list[Any] | None
    queue_object: Any = None
    removed: int = 0


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
        at_take: what has to be done before a run, if the exchange that takes the job can do it: "q" (QueueLock),
            seconds (JobLock), empty: nothing. None: its `around` does it.
        positional: whether it can't do its part for a job with an object among the arguments, as where it makes
            keys of Ruby's plugins and does not know which Ruby.
        in_shadow: it takes part in shadow runs (`run.shadow`), too; what it writes is then its own concern.
        rank: plugins of a higher rank wrap those of a lower one; with equal ranks (all but two are 0) the
            order of the task's list decides.

    Raises:
        UnknownOption: an option that `option_names` doesn't have.
    """

    option_names: ClassVar[frozenset[str]] = frozenset()
    in_shadow: ClassVar[bool] = False
    rank: ClassVar[int] = 0
    hook_timeout: ClassVar[Duration | None] = 30_000
    at_take: str | None = ""
    positional: bool = False

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        self.options: dict[str, Any] = {
            self._known(name): value for name, value in (options or {}).items()
        }

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        for hook in (*ENQUEUE_HOOKS, *DEQUEUE_HOOKS, *PERFORM_HOOKS):
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

    async def before_dequeue(self, job: Dequeuing) -> bool | None:
        """Jobs are to be removed from their queue by `delete` or `del_by_function`. False: they stay."""
        return True

    async def after_dequeue(self, job: Dequeuing) -> None:
        """They were removed, `job.removed` of them."""

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

    def taken_back(self, run: Run) -> Sequence[Command]:
        """What is written if a job goes back to its queue for which the exchange did what `at_take` says."""
        return ()

    def hold(self, run: Run) -> Lasting | None:
        """Something that lasts while the task runs, if `around` has no part in that."""

    def around_success(self, run: Run) -> None:
        """All that `around` does where the run succeeds, in a class that has both and whose `around` does nothing
        before it: such a run needs no coroutine.
        """


class Lasting(Protocol):
    """What lasts as long as a run."""

    def end(self, run: Run, /) -> None:
        """It is over."""


def in_one_step(plugin: Plugin) -> bool:
    """Whether `around_success` is enough. A class below with hooks of its own says so itself."""
    kinds = type(plugin).__mro__
    kind = next(each for each in kinds if {"around_success", *PERFORM_HOOKS} & vars(each).keys())
    return kind is not Plugin and "around_success" in vars(kind) and plugin.at_take is not None


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


# The time limit of a plugin's own code in a run; the wrapped run does not count.

Call = Callable[[], Awaitable[Any]]


class Around(Protocol):
    """Something that wraps a run: a plugin, for example."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def hook_limit_s(self) -> float | None:
        """How long its own code may take before the run, and again after it."""

    def around(self, run: Run, call_next: Call, /) -> Coroutine[Any, Any, None]:
        """Wraps the run."""


class HookLimit:
    """Watches one plugin in one run. When its time is over it is cancelled, a second time after a while,
    and then the run ends without it.

    Attributes:
        over: its time is over.
    """

    def __init__(self, run: Run, plugin: Around) -> None:
        self.over: bool = False
        self._when = "before"
        self._run = run
        self._plugin = plugin
        self._seconds = plugin.hook_limit_s
        self._timer: asyncio.TimerHandle | None = None
        self._task = asyncio.current_task()

    async def around(self, call_next: Call) -> None:
        """The plugin's part of the run."""
        if self._seconds is None:
            await self._plugin.around(self._run, call_next)
            return

        async def untimed() -> Any:
            self._pause()
            self.over = False  # it continued in spite of it, and has finished this part
            try:
                return await call_next()
            finally:
                self._when = "after"
                self._go_on()

        self._go_on()
        try:
            await self._plugin.around(self._run, untimed)
        finally:
            self._pause()

    def error(self) -> HookTimeout:
        """The error about it."""
        where = f"{self._when} the run of task {self._run.class_name!r}"
        return late(self._plugin, where, self._seconds)

    def _go_on(self) -> None:
        if self._seconds is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._seconds, self._cut_off)

    def _pause(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _cut_off(self) -> None:
        first, self.over = not self.over, True
        _cancel(self._task)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(GRACE_S, self._cut_off if first else self._go_on_without)

    def _go_on_without(self) -> None:
        run = self._run
        if run.runner is not None and run.slot is not None:
            run.runner.go_on_without(run.slot, run, self.error())


def late(plugin: Around, where: str, seconds: float | None) -> HookTimeout:
    """The error about a plugin that exceeded its limit."""
    return HookTimeout(
        f"{plugin.name}, a plugin or middleware, exceeded its hook_timeout of {seconds or 0:g} s {where}: find "
        "out what it waits for, or set a longer hook_timeout in its class"
    )


async def limited(plugin: Plugin, hook: Coroutine[Any, Any, R], doing: str) -> R:
    """What a hook of a queue returns, within its time limit.

    Raises:
        HookTimeout: it takes longer.
    """
    seconds = plugin.hook_limit_s
    if seconds is None:
        return await hook
    return await within(
        hook, seconds, partial(late, plugin, f"while {doing}", seconds), plugin.name
    )


def _cancel(task: asyncio.Task[object] | None) -> None:
    if isinstance(task, OwnTask):
        task.end()
    elif task is not None:
        task.cancel()
