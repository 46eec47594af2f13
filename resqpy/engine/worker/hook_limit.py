"""How long a plugin's own code may take in a run; what it stands around does not count."""

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
    """What stands around a run: a plugin, or something like it."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def hook_limit_s(self) -> float | None:
        """How long its own code may take before and behind the run."""

    def around(self, run: Run, call_next: Call, /) -> Coroutine[Any, Any, None]:
        """The whole run."""


class HookLimit:
    """Watches one plugin in one run. When its time is over it is cancelled, once more after a while, and
    then the run ends without it.

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
            self.over = False  # it went on in spite of it, and is done with this part
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
        """What is said of it."""
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
    """What is said of a plugin that took too long."""
    return HookTimeout(
        f"{plugin.name}, a plugin or middleware, took longer {where} than its hook_timeout of "
        f"{seconds or 0:g} s: find out what it waits for, or set a longer hook_timeout in its class"
    )


def _cancel(task: asyncio.Task[object] | None) -> None:
    if isinstance(task, OwnTask):
        task.end()
    elif task is not None:
        task.cancel()
