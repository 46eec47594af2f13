"""Two sources: periodic tasks with a frequency, and those with a cron schedule.

A frequency is one job in the cluster, again after each end, to the millisecond. Its times are kept beside
Resque's delayed lists, which know seconds only, and which Ruby's and Node's schedulers empty early, twice,
or into nothing; its note is the time at which the chain is due. See docs/reference/periodic.md.

A cron schedule has a job for every time that it names. Its note is `<ms> <schedule>`: up to which time it
is settled. The note of another schedule counts for nothing, so a change of it makes up for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from resqpy.base.errors import StoreError
from resqpy.base.foreign_time import noted_ms
from resqpy.base.periodic import Periodic
from resqpy.schedules.announcing import Announcer
from resqpy.schedules.chore import Emit, Leader, Look
from resqpy.schedules.repair import ChainRepair
from resqpy.schedules.schedule import (
    LATEST,
    CronTimes,
    Grid,
    MissedRule,
    Plan,
    Schedule,
    State,
)
from resqpy.store import periodic as store
from resqpy.store.client import Store
from resqpy.store.firing import Notes
from resqpy.store.periodic import Seen


class _TaskSource:
    """What both have in common: the jobs, and that they are announced."""

    scope: Literal["own", "shared"] = "own"

    def __init__(self, redis: Store, announcer: Announcer) -> None:
        self._store = redis
        self._announcer = announcer

    def job(self, schedule: Schedule, at_ms: int) -> bytes:
        """The job for one of its times."""
        assert isinstance(schedule.declared, Periodic)
        return schedule.declared.job(schedule.name, at_ms)


class FrequencySource(_TaskSource):
    """Tasks with a frequency; mends their broken chains, too.

    Args:
        emit: the scheduler's. Events: `re_enqueue` (ms, job), `error`.
    """

    name: str = "frequency"

    def __init__(self, redis: Store, announcer: Announcer, emit: Emit) -> None:
        super().__init__(redis, announcer)
        self.prefixes: Sequence[str] = (redis.keys.own("periodic", ""),)
        self._repair = ChainRepair(redis, announcer.tasks, emit)
        self._emit = emit

    async def look(self, leader: Leader) -> Look:
        """Those that are due at some time and not paused."""
        seen = await store.look(self._store)
        leader.clock.note(seen.time_us)
        now_ms = leader.clock.now_ms()
        if seen.odd:
            await self._drop_odd(seen)
        if seen.odd or await self._announcer.mend(seen, now_ms):
            return Look((), now_ms)
        tasks = self._announcer.announced.active(seen, now_ms)
        again_ms = await self._repair.run(leader, seen, tasks, now_ms)
        waiting = [
            task_schedule(name, tasks[name], seen, now_ms)
            for name in seen.due
            if name not in seen.paused and name in tasks and tasks[name].frequency_ms
        ]
        return Look(waiting, again_ms)

    async def _drop_odd(self, seen: Seen) -> None:
        await store.drop_odd(self._store, seen)
        for key, name in seen.odd:
            message = f"what {key!r} has for {name!r} is no time: it was dropped"
            self._emit("error", StoreError(message))

    def notes(self, schedule: Schedule, what: Plan, allowed: Sequence[int], now_ms: int) -> Notes:
        """The chain is out, or due again later where its job is not allowed."""
        assert what.next_ms is not None
        keys = self._store.keys
        return store.chain_notes(keys, schedule.name, schedule.note, what.settled_ms, what.next_ms)


class CronSource(_TaskSource):
    """Tasks with a cron schedule."""

    name: str = "cron"

    def __init__(self, redis: Store, announcer: Announcer) -> None:
        super().__init__(redis, announcer)
        keys = redis.keys
        self.prefixes: Sequence[str] = (keys.periodic_tasks, keys.periodic_paused)
        self._known: _Known = {}

    async def look(self, leader: Leader) -> Look:
        """All that somebody still has; the times of those that rest are left out."""
        seen = await store.look(self._store)
        leader.clock.note(seen.time_us)
        now_ms = leader.clock.now_ms()
        if await self._announcer.mend(seen, now_ms):
            return Look((), now_ms)
        tasks = self._announcer.announced.active(seen, now_ms)
        return Look(
            [
                task_schedule(name, task, seen, now_ms, known=self._known)
                for name, task in tasks.items()
                if task.cron is not None
            ]
        )

    def notes(self, schedule: Schedule, what: Plan, allowed: Sequence[int], now_ms: int) -> Notes:
        """Up to which time it is settled, and the last of its fires."""
        assert isinstance(schedule.declared, Periodic)
        new = f"{what.settled_ms} {schedule.declared.cron_text}"
        last_ms = allowed[-1] if allowed else None
        return store.cron_notes(self._store.keys, schedule.name, schedule.note, new, last_ms)


_Known = dict[str, tuple[str, int | None]]  # by task: what is settled, and the fire after it


def task_schedule(
    name: str,
    task: Periodic,
    seen: Seen,
    now_ms: int,
    *,
    active: bool = True,
    known: _Known | None = None,
) -> Schedule:
    """The schedule of a task.

    Args:
        active: somebody still has it.
        known: keeps what need not be computed again.
    """
    state = _state(name, task, seen, active=active)
    if task.cron is None:
        return _frequency(name, task, seen, now_ms, state)
    note = seen.cron.get(name, "")
    settled, _, text = note.partition(" ")
    settled_ms = noted_ms(settled) if text == task.cron_text else None
    since_ms = now_ms if settled_ms is None else settled_ms
    return Schedule(
        name=name,
        kind="cron",
        declared=task,
        class_name=name,
        queue=task.queue,
        times=CronTimes(task.cron),
        missed=MissedRule(task.missed, task.window_ms),
        state=state,
        note=note,
        next_ms=_next_ms(name, task, since_ms, {} if known is None else known),
        last_ms=seen.last.get(name),
        is_new=settled_ms is None,
    )


def _frequency(name: str, task: Periodic, seen: Seen, now_ms: int, state: State) -> Schedule:
    step_ms, due_ms = task.frequency_ms or 1, seen.due.get(name)
    after_this = seen.out[name] + step_ms if name in seen.out else now_ms
    return Schedule(
        name=name,
        kind="frequency",
        declared=task,
        class_name=name,
        queue=task.queue,
        times=Grid(after_this if due_ms is None else due_ms, step_ms),
        missed=LATEST,
        state=state,
        note="" if due_ms is None else str(due_ms),
        next_ms=due_ms,
        last_ms=seen.last.get(name),
    )


def _state(name: str, task: Periodic, seen: Seen, *, active: bool) -> State:
    if name in seen.stopped:
        return "failed" if seen.stopped[name] == "failed" else "stopped"
    if name in seen.paused:
        return "paused"
    if not active:
        return "inactive"
    return "under way" if task.cron is None and name in seen.out else "waiting"


def _next_ms(name: str, task: Periodic, settled_ms: int, known: _Known) -> int | None:
    """The first fire that is not settled."""
    assert task.cron is not None
    key = f"{settled_ms} {task.cron_text}"
    found = known.get(name)
    if found is None or found[0] != key:
        found = known[name] = (key, CronTimes(task.cron).next_after(settled_ms))
    return found[1]
