"""Tasks with a cron schedule: a job for every time that it names, once in the cluster.

All rests on one note in Redis for each task: up to which time its fires are settled. It moves in the
step that enqueues the jobs, and only from the value that was read; so whoever dies when, and however
clocks step, no fire is doubled, and none is left out but by the task's own rule (`cron_plan`).
Time is Redis' clock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from resqpy.base.errors import StoreError
from resqpy.base.foreign_time import noted_ms
from resqpy.base.periodic import Periodic
from resqpy.engine.announcing import Announcer
from resqpy.engine.cron_plan import Plan, next_ms, plan
from resqpy.engine.election import Leadership, Scope
from resqpy.engine.pushing import Pushing
from resqpy.engine.queue import Queue
from resqpy.store import cron as store
from resqpy.store import periodic
from resqpy.store.cron import CronFire

_RETRY_MS = 1000


class Settled(NamedTuple):
    """The note of a task: `<ms> <schedule>`, or none.

    Attributes:
        text: as it stands in Redis; empty: there is none.
        ms: None: none, or it belongs to another schedule, so there is nothing to make up for.
    """

    text: str
    ms: int | None


def read_note(text: str | None, task: Periodic) -> Settled:
    """The note of a task as it stands in Redis."""
    ms, _, schedule = (text or "").partition(" ")
    return Settled(text or "", noted_ms(ms) if schedule == task.cron_text else None)


class CronChore:
    """Enqueues the jobs of cron tasks.

    Args:
        queue: has the tasks, for their hooks.
        announcer: this process'.
        emit: the scheduler's. Events: `enqueue` (ms, job), `error`.
        longest_s: seconds between looks.
    """

    name = "cron"
    scope: Scope = "own"

    def __init__(
        self, queue: Queue, announcer: Announcer, emit: Callable[..., None], longest_s: float
    ) -> None:
        keys = queue.store.keys
        self.prefixes: Sequence[str] = (keys.periodic_tasks, keys.periodic_paused)
        self._store = queue.store
        self._announcer = announcer
        self._announced = announcer.announced
        self._pushing = Pushing(queue, emit)
        self._emit = emit
        self._longest_s = longest_s
        self._next: dict[str, tuple[str, int | None]] = {}  # note → the fire after it

    async def run(self, leadership: Leadership) -> float:
        """Enqueue what is due; seconds until something is."""
        seen = await periodic.look(self._store)
        leadership.clock.note(seen.time_us)
        now_ms = leadership.clock.now_ms()
        if await self._announcer.mend(seen, now_ms):
            return 0
        waits_ms = [int(self._longest_s * 1000)]
        for name, task in self._announced.active(seen, now_ms).items():
            if task.cron is not None:
                rests = name in seen.paused or name in seen.stopped
                note = read_note(seen.cron.get(name), task)
                waits_ms.append(await self._settle(leadership, name, task, note, rests=rests))
        return min(waits_ms) / 1000

    async def _settle(
        self, leadership: Leadership, name: str, task: Periodic, note: Settled, *, rests: bool
    ) -> int:
        """Settle what is due of one task; milliseconds until its next fire."""
        now_ms = leadership.clock.now_ms()
        if note.ms is None:
            what = Plan([], now_ms)
        elif (wait_ms := self._wait_ms(name, task, note.ms, now_ms)) > 0:
            return wait_ms
        else:
            what = Plan([], now_ms) if rests else plan(task, note.ms, now_ms)
        if not await self._fire(leadership, name, task, note, what):
            return _RETRY_MS
        return 0 if what.more else self._wait_ms(name, task, what.settled_ms, now_ms)

    def _wait_ms(self, name: str, task: Periodic, settled_ms: int, now_ms: int) -> int:
        """Milliseconds until the first fire that is not settled."""
        assert task.cron is not None
        key = f"{settled_ms} {task.cron_text}"
        known = self._next.get(name)
        if known is None or known[0] != key:
            known = self._next[name] = (key, next_ms(task.cron, settled_ms))
        longest_ms = int(self._longest_s * 1000)
        return longest_ms if known[1] is None else min(known[1] - now_ms, longest_ms)

    async def _fire(
        self, leadership: Leadership, name: str, task: Periodic, note: Settled, what: Plan
    ) -> bool:
        """Carry a plan out; whether that was done."""
        allowed = what.fires
        if allowed:
            asked = [await self._pushing.allowed(task.queue, name, task.args) for _ in allowed]
            allowed = [at for at, fine in zip(allowed, asked, strict=True) if fine]
        fire = CronFire(
            name=name,
            note=note.text,
            new_note=f"{what.settled_ms} {task.cron_text}",
            queue=task.queue,
            last_ms=allowed[-1] if allowed else None,
            jobs=[task.job(name, at) for at in allowed],
            guards=self._pushing.guards(task.queue, name, task.args) if allowed else (),
        )
        try:
            pushed = await store.fire(self._store, leadership, fire)
        except StoreError as error:  # its queue is no list, say: the other tasks go on
            self._emit("error", error)
            return False
        for at_ms in allowed[: max(pushed, 0)]:
            await self._pushing.enqueued(task.queue, name, task.args, at_ms)
        return True
