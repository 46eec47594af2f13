"""Noop: a failed job counts as done; its error is only logged."""

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
        logger: a function (plain or async) that receives the error; default: an entry in the log
            `resqpy.plugins.noop`.
    """

    hook_timeout: ClassVar[Duration | None] = None  # it waits for Redis as long as necessary
    rank: ClassVar[int] = 1  # inside Retry: a job that will be retried has not failed yet
    option_names: ClassVar[frozenset[str]] = frozenset({"logger"})

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(options)
        self._logger = self.option("logger", None)
        if self._logger is not None and not callable(self._logger):
            raise UsageError(f"logger: {self._logger!r} is not a function that takes the error")

    def around_success(self, run: Run) -> None:
        """Nothing."""

    async def after_perform(self, run: Run) -> None:
        """Report the error and clear it."""
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
