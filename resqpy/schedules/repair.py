"""Broken chains: the one job of a periodic task was lost, so that nothing would make it due again.

Causes: a worker died with an at-most-once run; a foreign worker, which knows nothing of chains, ran it;
somebody deleted it; Redis was flushed. If a chain's job did not end within its period we look for it; if it
is nowhere, twice in a row (between two commands of a Ruby worker a job is nowhere), the chain becomes due
again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from resqpy.base.periodic import Periodic, next_on_grid
from resqpy.schedules.chore import Emit, Leader
from resqpy.store import periodic as store
from resqpy.store.connection.client import Store
from resqpy.store.periodic import LOST, MENDED, Seen

SHORTEST_MS = 1000  # chains of faster tasks are checked once per second
LONGEST_MS = 30_000  # between two checks for a long-running job
STRANGER_MS = 60_000  # before repairing a task that this process does not have
SECOND_LOOK_MS = 300
FORGET_AFTER_MS = 7 * 86_400_000


@dataclass(frozen=True, slots=True)
class _Look:
    """A search for the job of a chain."""

    at_ms: int
    next_ms: int
    lost: bool = False


class ChainRepair:
    """Repairs the chains of tasks with a frequency.

    Args:
        own: the tasks of this process.
        emit: the scheduler's; emits `re_enqueue` (ms, job) for a repaired chain.
    """

    def __init__(self, redis: Store, own: Mapping[str, Periodic], emit: Emit) -> None:
        self._store = redis
        self._own = own
        self._emit = emit
        self._looks: dict[str, _Look] = {}

    async def run(
        self, leader: Leader, seen: Seen, tasks: Mapping[str, Periodic], now_ms: int
    ) -> int:
        """Repair broken chains; returns when (ms) to check again.

        Args:
            tasks: all active tasks.
        """
        await self._forget(leader, seen, now_ms)
        for name, due_ms in seen.due.items():
            if name in tasks:
                await self._correct(leader, name, tasks[name], due_ms, now_ms)
        self._looks = {name: look for name, look in self._looks.items() if name in seen.out}
        next_ms = now_ms + LONGEST_MS
        for name, task in tasks.items():
            if task.frequency_ms is None or name in seen.due or name in seen.stopped:
                continue
            if name in seen.out:
                look_ms = await self._look_for(leader, name, task, seen.out[name], now_ms)
                next_ms = min(next_ms, look_ms)
            else:
                await store.set_due(self._store, leader, name, None, now_ms)
                next_ms = now_ms
        return next_ms

    async def _correct(
        self, leader: Leader, name: str, task: Periodic, due_ms: int, now_ms: int
    ) -> None:
        """A clock was set back, or the task's frequency changed, or it has a cron now."""
        if task.frequency_ms is None:
            await store.set_due(self._store, leader, name, due_ms, None)
        elif due_ms > now_ms + task.frequency_ms + SHORTEST_MS:
            new_ms = now_ms + task.frequency_ms
            await store.set_due(self._store, leader, name, due_ms, new_ms)

    async def _look_for(
        self, leader: Leader, name: str, task: Periodic, at_ms: int, now_ms: int
    ) -> int:
        """Look for the job of a chain, if it is time; returns when (ms) to check again."""
        period_ms = max(task.frequency_ms or 0, SHORTEST_MS)
        look = self._looks.get(name)
        if look is None or look.at_ms != at_ms:
            patience_ms = period_ms if name in self._own else max(period_ms, STRANGER_MS)
            look = self._looks[name] = _Look(at_ms, at_ms + patience_ms)
        if now_ms < look.next_ms:
            return look.next_ms
        due_ms = _missed_ms(at_ms, task.frequency_ms or 0, now_ms) if look.lost else None
        found = await store.find_or_mend(self._store, leader, name, task, at_ms, due_ms)
        if found == MENDED:
            self._emit("re_enqueue", due_ms, {"class": name, "queue": task.queue})
            return now_ms
        lost = found == LOST
        pause_ms = SECOND_LOOK_MS if lost else min(period_ms, LONGEST_MS)
        self._looks[name] = _Look(at_ms, now_ms + pause_ms, lost)
        return now_ms + pause_ms

    async def _forget(self, leader: Leader, seen: Seen, now_ms: int) -> None:
        for name, announced_ms in seen.announced.items():
            if announced_ms < now_ms - FORGET_AFTER_MS:
                await store.forget(self._store, leader, name, announced_ms)


def _missed_ms(at_ms: int, step_ms: int, now_ms: int) -> int:
    """The last of a chain's times that has passed."""
    return max(next_on_grid(at_ms, step_ms, now_ms) - step_ms, at_ms + step_ms)
