"""Tasks with a frequency: one job in the cluster, again after each end, to the millisecond.

Their times are kept beside Resque's delayed lists, which know seconds only, and which Ruby's and
Node's schedulers empty early, twice, or into nothing. See docs/reference/periodic.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from resqpy.base.errors import StoreError
from resqpy.base.periodic import Periodic, next_on_grid
from resqpy.engine.announcing import Announcer
from resqpy.engine.election import Leadership, Scope
from resqpy.engine.mending import Mending
from resqpy.engine.pushing import Pushing
from resqpy.engine.queue import Queue
from resqpy.store import periodic as store
from resqpy.store.periodic import ENQUEUED, ChainFire


class FrequencyChore:
    """Enqueues what is due, and mends broken chains.

    Args:
        queue: has the tasks, for their hooks.
        announcer: this process'.
        emit: the scheduler's. Events: `enqueue` and `re_enqueue` (ms, job), `error`.
        longest_s: seconds between looks.
    """

    name = "frequency"
    scope: Scope = "own"

    def __init__(
        self, queue: Queue, announcer: Announcer, emit: Callable[..., None], longest_s: float
    ) -> None:
        keys = queue.store.keys
        self.prefixes: Sequence[str] = (keys.own("periodic", ""),)
        self._store = queue.store
        self._announcer = announcer
        self._announced = announcer.announced
        self._pushing = Pushing(queue, emit)
        self._mending = Mending(queue.store, announcer.tasks, emit)
        self._emit = emit
        self._longest_s = longest_s

    async def run(self, leadership: Leadership) -> float:
        """Enqueue what is due; seconds until something is."""
        seen = await store.look(self._store)
        leadership.clock.note(seen.time_us)
        now_ms = leadership.clock.now_ms()
        if seen.odd:
            await self._drop_odd(seen)
        if seen.odd or await self._announcer.mend(seen, now_ms):
            return 0
        tasks = self._announced.active(seen, now_ms)
        next_ms = await self._mending.run(leadership, seen, tasks, now_ms)
        waiting = {
            name: due_ms
            for name, due_ms in seen.due.items()
            if name not in seen.paused and name in tasks and tasks[name].frequency_ms
        }
        due = {name: at_ms for name, at_ms in waiting.items() if at_ms <= now_ms}
        await asyncio.gather(
            *(self._fire(leadership, name, tasks[name], at_ms) for name, at_ms in due.items())
        )
        next_ms = min([next_ms, *(ms for ms in waiting.values() if ms > now_ms)])
        return min((next_ms - leadership.clock.now_ms()) / 1000, self._longest_s)

    async def _drop_odd(self, seen: store.Seen) -> None:
        await store.drop_odd(self._store, seen)
        for key, name in seen.odd:
            words = f"what {key!r} has for {name!r} is no time: it was dropped"
            self._emit("error", StoreError(words))

    async def _fire(self, leadership: Leadership, name: str, task: Periodic, due_ms: int) -> None:
        now_ms, step_ms = leadership.clock.now_ms(), task.frequency_ms or 0
        again_ms = next_on_grid(due_ms, step_ms, now_ms)
        at_ms = max(due_ms, again_ms - step_ms)  # times at which nobody led are left out
        allowed = await self._pushing.allowed(task.queue, name, task.args)
        what = ChainFire(
            name=name,
            due_ms=due_ms,
            at_ms=at_ms,
            again_ms=again_ms,
            queue=task.queue,
            job=task.job(name, at_ms) if allowed else None,
            guards=self._pushing.guards(task.queue, name, task.args) if allowed else (),
        )
        try:
            done = await store.fire(self._store, leadership, what)
        except StoreError as error:  # its queue is no list, say: the other tasks go on
            self._emit("error", error)
            return
        if done == ENQUEUED:
            await self._pushing.enqueued(task.queue, name, task.args, at_ms)
