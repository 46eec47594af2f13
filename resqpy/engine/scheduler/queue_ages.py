"""The chores that look at all queues: how long their jobs wait, published at once; and samples for the history."""

from __future__ import annotations

from collections.abc import Sequence

from resqpy.base.queue_age import QueueAge, QueueFlow
from resqpy.engine.scheduler.election import Leadership, Scope
from resqpy.store import history, queue_ages, queues
from resqpy.store.connection.client import Store

STEP_S = 1.0
REST_S = 10.0  # the longest step where nothing moves: an idle installation gets a command in so many seconds
_GO_ON_S = 0.05  # where many queues have changed, others get their turn at Redis
_FORGET_MS = 600_000  # an empty queue


class QueueAgesChore:
    """Looks once a second while jobs come or go, at up to a thousand queues; where there are more, at the next
    thousand each time. Where nothing moves it looks ever more rarely: what waits gets older by itself.
    """

    name = "queue_ages"
    scope: Scope = "own"
    prefixes: Sequence[str] = ()

    def __init__(self, store: Store) -> None:
        self._store = store
        self._token = ""
        self._flows: dict[str, QueueFlow] = {}
        self._unpublished: dict[str, QueueAge | None] = {}
        self._parts: list[
            list[str]
        ] = []  # what is still to be looked at in this round; none: all at once
        self._last_ms: dict[int, int] = {}
        self._go_on, self._step_s = 0, STEP_S

    async def run(self, leadership: Leadership) -> float | None:
        """Look once; returns the seconds until the next look."""
        if leadership.token != self._token:
            await self._begin(leadership.token)
        names = self._parts[-1] if self._parts else []
        now_ms, begin = leadership.clock.now_ms(), self._go_on
        call = queue_ages.look_call(self._store, now_ms, names, begin)
        looked = queue_ages.looked(await leadership.run(*call))
        if not looked.at and looked.queues:
            every = sorted({*await queues.names(self._store), *self._flows} - {""})
            starts = range(0, len(every), queue_ages.MOST)
            self._parts = [every[each : each + queue_ages.MOST] for each in starts]
            return 0.0
        self._go_on = looked.go_on
        if self._parts and not self._go_on:
            self._parts.pop()
        self._take_in(looked, now_ms)
        if self._unpublished:
            await leadership.run(*queue_ages.publish_call(self._store, self._unpublished))
            self._unpublished = {}
        if self._go_on:
            return _GO_ON_S
        rests = not (looked.changed or self._parts or begin)
        self._step_s = min(2 * self._step_s, REST_S) if rests else STEP_S
        return self._step_s

    async def _begin(self, token: str) -> None:
        """Go on where another leader was."""
        known = await queue_ages.read(self._store)
        self._flows = {
            name: QueueFlow(age, known=True, at_ms=age.at_ms) for name, age in (known or {}).items()
        }
        self._parts, self._last_ms, self._unpublished = [], {}, {}
        self._go_on, self._step_s, self._token = 0, STEP_S, token

    def _take_in(self, looked: queue_ages.Looked, now_ms: int) -> None:
        """What a look has found. A queue that we don't know was empty, if anybody has looked before."""
        part = len(self._parts) - bool(looked.go_on and self._parts)
        last_ms = self._last_ms.get(part, looked.last_ms)
        if not looked.go_on:
            self._last_ms[part] = now_ms
        before_ms, known = now_ms if last_ms is None else last_ms, last_ms is not None
        for name, seen in looked.changed.items():
            flow = self._flows.get(name)
            if flow is None:
                flow = self._flows[name] = QueueFlow(None, known=known, at_ms=before_ms)
            self._unpublished[name] = flow.look(seen, now_ms, before_ms)
        if not looked.changed:
            self._unpublished |= self._forgotten(now_ms)

    def _forgotten(self, now_ms: int) -> dict[str, None]:
        """Queues that have been empty for long."""
        gone = [
            name
            for name, flow in self._flows.items()
            if not flow.length and now_ms - flow.changed_ms > _FORGET_MS
        ]
        for name in gone:
            del self._flows[name]
        return dict.fromkeys(gone)


class SampleChore:
    """Notes at each full minute how long queues are, and Resque's own counters."""

    name = "history"
    scope: Scope = "own"
    prefixes: Sequence[str] = ()

    def __init__(self, store: Store) -> None:
        self._store = store
        self._token = ""

    async def run(self, leadership: Leadership) -> float | None:
        """Take a sample; returns the seconds until the next one."""
        now_ms = leadership.clock.now_ms()
        if leadership.token == self._token:
            await history.sample(self._store, now_ms // 1000)
        self._token = leadership.token  # who has just begun to lead waits for the next minute
        return 60.0 - now_ms % 60_000 / 1000
