"""The chore that counts what workers of other languages run under `Limit(…, foreign="count")`."""

from __future__ import annotations

from collections.abc import Sequence

from resqpy.base import reading
from resqpy.base.foreign_time import moment_of
from resqpy.engine.scheduler.election import Leadership, Scope
from resqpy.engine.scheduler.foreign_care import PRUNE_AFTER_MS
from resqpy.engine.worker.identity import incarnation_of
from resqpy.store import limits, workers
from resqpy.store.connection.client import Store

STEP_S = 1.0
REST_S = 60.0  # without such a limit: the key of their names wakes us, where Redis tells of changes
MOST = 1000  # workers of a look; where there are more, the next thousand at the next
LEASE_MS = 5000  # a place that is not renewed is free then, for each look that a round takes


class ForeignLimitsChore:
    """Looks once a second at the records of foreign workers, and holds the places of the jobs in them, over the
    limit, too: they run already. Who frees a place that nobody renews is the exchange that meets the limit.
    """

    name = "foreign_limits"
    scope: Scope = "own"

    def __init__(self, store: Store) -> None:
        self._store = store
        self.prefixes: Sequence[str] = (store.keys.limit_foreign,)
        self._held: set[str] = set()
        self._round: list[list[str]] = []  # what is still to be looked at
        self._lease_ms = LEASE_MS

    async def run(self, leadership: Leadership) -> float | None:
        """Look once; returns the seconds until the next look."""
        names = await limits.counted_names(self._store)
        if not names and not self._held:
            return REST_S
        if not self._round:
            ids = [e for e in await workers.ids(self._store) if _is_foreign(e)] if names else []
            every = sorted({*ids, *self._held})
            self._round = [every[at : at + MOST] for at in range(0, len(every), MOST)]
            self._lease_ms = LEASE_MS * max(len(self._round), 1)
        if not self._round:
            return STEP_S
        ids = self._round.pop(0)
        running = await limits.foreign_keys(self._store, ids, names)
        alive = await self._alive([*running], leadership.clock.now_ms())
        places = {each: running[each] if each in alive else [] for each in ids}
        changes = {each: keys for each, keys in places.items() if keys or each in self._held}
        if changes:
            await leadership.run(*limits.count_call(self._store, changes, self._lease_ms))
        self._held = self._held - {*ids} | {each for each, keys in places.items() if keys}
        return STEP_S if names or self._held else REST_S

    async def _alive(self, ids: Sequence[str], now_ms: int) -> set[str]:
        """Without those that were killed: their records stay until somebody prunes them, the jobs have ended."""
        signs = await workers.signs_of_life(self._store, ids)
        seen = {
            each: moment_of(beat) if ping is None else reading.ping_time_ms(ping)
            for each, (beat, ping) in zip(ids, signs, strict=True)
        }
        return {e for e, at in seen.items() if at is None or now_ms - at <= PRUNE_AFTER_MS}


def _is_foreign(worker_id: str) -> bool:
    """A line break in an id would be read as the end of it."""
    return incarnation_of(worker_id) is None and "\n" not in worker_id
