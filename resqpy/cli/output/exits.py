"""The exit codes of `resqpy` (docs/reference/cli.md)."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """An exit code."""

    OK = 0
    ERROR = 1  # anything else went wrong; a task that was run raised
    USAGE = 2  # an option or an argument is wrong
    PROJECT = 3  # the project's files or settings are wrong
    REDIS = 4  # Redis can't be reached, or can't be used
    NOT_FOUND = 5  # no such task, queue, job, worker, lock
    NO = 6  # the answer is no: not healthy, problems found, forbidden by a plugin
    RUNNING = 7  # such a process is already running
    INTERRUPTED = 130  # Ctrl-C


def code_of(error: BaseException) -> Exit:
    """The exit code for an error."""
    from resqpy.base import errors  # imported here, because `resqpy --help` needs none of it
    from resqpy.tracked.errors import TaskRefused

    table: tuple[tuple[type[BaseException], Exit], ...] = (
        (errors.LoadFailed, Exit.PROJECT),
        (errors.ConfigError, Exit.PROJECT),
        (errors.ImportFailed, Exit.PROJECT),
        (errors.StoreError, Exit.REDIS),
        (errors.EmbeddedRedisError, Exit.REDIS),
        (errors.UnknownTask, Exit.NOT_FOUND),
        (errors.NotInFailed, Exit.NOT_FOUND),
        (TaskRefused, Exit.NO),
        (errors.UsageError, Exit.USAGE),
        (KeyboardInterrupt, Exit.INTERRUPTED),
    )
    return next((code for kind, code in table if isinstance(error, kind)), Exit.ERROR)
