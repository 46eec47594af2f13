"""The time limit of a plugin's own code in a run; the wrapped run does not count."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from resqpy.base.concurrency.limited import GRACE_S
from resqpy.base.concurrency.own_tasks import OwnTask
from resqpy.base.errors import HookTimeout
from resqpy.engine.run import Run

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


def _cancel(task: asyncio.Task[object] | None) -> None:
    if isinstance(task, OwnTask):
        task.end()
    elif task is not None:
        task.cancel()
