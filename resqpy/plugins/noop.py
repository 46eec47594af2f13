"""Noop: a job that fails counts as done; its error is only told."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from typing import Any, ClassVar

from resqpy.base.errors import UsageError, WorkerStopped
from resqpy.base.when import Duration
from resqpy.engine.plugin import Plugin
from resqpy.engine.run import Run

_log = logging.getLogger("resqpy.plugins.noop")


class Noop(Plugin):
    """Keeps failed jobs out of the failed list.

    Options:
        logger: a function (plain or async) that gets the error; default: a line in the log
            `resqpy.plugins.noop`.
    """

    hook_timeout: ClassVar[Duration | None] = None  # it waits for Redis for as long as it must
    rank: ClassVar[int] = 1  # behind Retry: what is tried again is no matter for it yet
    option_names: ClassVar[frozenset[str]] = frozenset({"logger"})

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(options)
        self._logger = self.option("logger", None)
        if self._logger is not None and not callable(self._logger):
            raise UsageError(f"logger: {self._logger!r} is no function; give one of the error")

    async def after_perform(self, run: Run) -> None:
        """Tell the error and forget it."""
        error = run.error
        if error is None or isinstance(error, WorkerStopped):
            return
        run.error = None
        if self._logger is None:
            _log.error("%s in %r failed: %s", run.class_name, run.queue, error, exc_info=error)
            return
        told = self._logger(error)
        if inspect.isawaitable(told):
            await told
