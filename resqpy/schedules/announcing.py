"""Periodic tasks are data: each process announces its own, and the leader runs what is announced.

So a leader with other code, or another version of it, runs them too. A task that nobody announces any more
becomes inactive after a minute and is forgotten after a week.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Generic, Protocol, TypeVar

from resqpy.base import periodic
from resqpy.base.errors import StoreError, UsageError
from resqpy.base.periodic import Periodic
from resqpy.store import periodic as store
from resqpy.store.connection.client import Store
from resqpy.store.periodic import BOOT, RENEW, Seen

RENEW_EVERY_S = 15.0
INACTIVE_AFTER_MS = 60_000
_AGAIN_S = 1.0  # after an error

OnError = Callable[[Exception], None]
T = TypeVar("T")


class _Task(Protocol):
    @property
    def periodic(self) -> Periodic | None: ...


def own_tasks(definitions: Mapping[str, _Task]) -> dict[str, Periodic]:
    """The periodic tasks of a process."""
    return {name: task.periodic for name, task in definitions.items() if task.periodic is not None}


class ReadOnce(Generic[T]):
    """Parses texts that are read from Redis repeatedly: each only once.

    Args:
        read: parses the text of a name; raises UsageError.
        on_error: called once for each text that can't be parsed.
    """

    def __init__(
        self, read: Callable[[str, bytes], T], on_error: Callable[[str, UsageError], None]
    ) -> None:
        self._read = read
        self._on_error = on_error
        self._known: dict[str, tuple[bytes, T | None]] = {}

    def all(self, texts: Mapping[str, bytes]) -> dict[str, T]:
        """The parsed values, by name; unreadable texts are left out."""
        self._known = {name: self._one(name, raw) for name, raw in texts.items()}
        return {name: value for name, (_, value) in self._known.items() if value is not None}

    def _one(self, name: str, raw: bytes) -> tuple[bytes, T | None]:
        known = self._known.get(name)
        if known is not None and known[0] == raw:
            return known
        try:
            return raw, self._read(name, raw)
        except UsageError as error:
            self._on_error(name, error)
            return raw, None


class Announcer:
    """Announces a process' periodic tasks while the process lives, and reads those of all processes.

    Args:
        on_error: called once for each unreadable announcement, and on problems with Redis.

    Attributes:
        tasks: this process' own, by name; they are active whoever announces them.
    """

    def __init__(self, redis: Store, tasks: Mapping[str, Periodic], on_error: OnError) -> None:
        self.tasks: dict[str, Periodic] = dict(tasks)
        self._store = redis
        self._on_error = on_error
        self._reader = ReadOnce(
            lambda _, raw: periodic.decode(raw),
            lambda name, error: on_error(UsageError(f"periodic task {name!r}: {error}")),
        )

    async def run(self) -> None:
        """Announce until cancelled. The first announcement replaces those of other processes."""
        how = BOOT
        while True:
            try:
                await store.announce(self._store, self.tasks, how)
            except StoreError as error:
                self._on_error(error)
                await asyncio.sleep(_AGAIN_S)
            else:
                how = RENEW
                await asyncio.sleep(RENEW_EVERY_S)

    async def mend(self, seen: Seen, now_ms: int) -> bool:
        """Announce missing tasks again, because Redis was flushed; returns whether there were any."""
        missing = {name: task for name, task in self.tasks.items() if name not in seen.tasks}
        if missing:
            await store.announce(self._store, missing, RENEW, now_ms)
        return bool(missing)

    def active(self, seen: Seen, now_ms: int) -> dict[str, Periodic]:
        """The tasks that some process still has."""
        tasks = self._reader.all(seen.tasks)
        return {name: task for name, task in tasks.items() if self.is_active(name, seen, now_ms)}

    def is_active(self, name: str, seen: Seen, now_ms: int) -> bool:
        """Whether some process still has a task."""
        return name in self.tasks or now_ms - seen.announced.get(name, 0) <= INACTIVE_AFTER_MS
