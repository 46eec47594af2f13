"""Periodically the leader looks for delayed jobs that are missing from the index."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from resqpy.base.errors import ResqpyError
from resqpy.engine.scheduler.election import Leadership, Scope
from resqpy.engine.scheduler.promotion import second_of
from resqpy.store.connection.client import Store
from resqpy.store.repair import orphans

FIRST_S = 60.0  # a new leader has more urgent work
EVERY_S = 6 * 3600.0
STEP_S = 0.02  # between two steps: at most some thousand keys per second


class Orphans:
    """The chore that adds lost delayed lists to the index, where promotion finds them.

    Args:
        tell: emits the scheduler's `error`.
    """

    name = "orphans"
    scope: Scope = "shared"
    prefixes: Sequence[str] = ()

    def __init__(
        self,
        store: Store,
        tell: Callable[..., None],
        first_s: float = FIRST_S,
        every_s: float = EVERY_S,
    ) -> None:
        self._store = store
        self._tell = tell
        self._first_s = first_s
        self._every_s = every_s
        self._token = ""
        self._cursor = 0

    async def run(self, leadership: Leadership) -> float:
        """One step of the scan; returns the seconds until the next."""
        if leadership.token != self._token:
            self._token, self._cursor = leadership.token, 0
            return self._first_s
        mended = await orphans.mend(self._store, leadership, self._cursor)
        for member in mended.found:
            text = f"delayed:{second_of(member)} was not in delayed_queue_schedule; it was added"
            self._tell("error", ResqpyError(text))
        self._cursor = mended.cursor
        return STEP_S if self._cursor else self._every_s
