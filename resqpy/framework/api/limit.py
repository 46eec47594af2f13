"""`api.limit(name)`: a limit or rate of tasks, for code that learns that it must wait."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from resqpy.base.errors import UsageError
from resqpy.base.when import Duration, duration_ms, moment_ms

if TYPE_CHECKING:
    from resqpy.framework.api.tasks_api import TasksApi

_LONGEST_VALUE = 128  # bytes


class LimitHandle:
    """A limit by its name, or one of its keys.

    Args:
        tasks: returns `api.tasks`.
        value: of the input that the limit goes by; None: all of them.
    """

    def __init__(
        self, tasks: Callable[[], TasksApi], name: str, value: str | float | None = None
    ) -> None:
        self._tasks = tasks
        self.key: str = name if value is None else f"{name}={key_text(value)}"

    async def wait_until(self, when: Duration | datetime) -> int:
        """Let no job under the limit begin before: a service has said so, by a 429 with `Retry-After`, say. Jobs
        that would begin wait for their turn, in all processes, without failing; those that run go on.

        Args:
            when: milliseconds or a timedelta from now, or an aware datetime.

        Returns:
            Until when, in milliseconds since the epoch, by Redis' clock: later, if somebody has said so.
        """
        tasks = self._tasks()
        if isinstance(when, datetime):
            left_ms = moment_ms(when, "when") - await tasks.inspector.now_ms()
            return await tasks.shut_limit(self.key, timedelta(milliseconds=max(left_ms, 0)))
        return await tasks.shut_limit(self.key, duration_ms(when, "when"))


def key_text(value: str | float) -> str:
    """A value of an input as the exchange writes it (`store/lua/exchange_keys.lua`).

    Raises:
        UsageError: it makes no key of its own.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float) and abs(value) < 2**53:
        return str(int(value)) if value == int(value) else f"{value:.17g}"
    if not isinstance(value, str):
        raise UsageError(f"{value!r} is neither a text nor a number below 2^53, so it makes no key")
    raw = value.encode()
    if len(raw) > _LONGEST_VALUE or any(byte < 32 or byte == 127 for byte in raw):
        return f"#{hashlib.sha1(raw, usedforsecurity=False).hexdigest()}"
    return value
