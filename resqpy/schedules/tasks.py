"""Two sources: periodic tasks with a frequency, and those with a cron schedule.

A frequency means one job in the whole installation, again after each end, to the millisecond. Its times are
not kept in Resque's delayed lists, which have only seconds, and which Ruby's and Node's schedulers may
empty early, twice, or without running anything. Its note is the time at which the chain is due. See
docs/reference/periodic.md.

A cron schedule has a job for every time that it names. Its note is `<ms> <schedule>`: up to which time it
has been handled. The note of a different schedule is ignored, so changing a schedule makes up for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from resqpy.base.errors import StoreError
from resqpy.base.foreign_time import noted_ms
from resqpy.base.periodic import Periodic
from resqpy.schedules.announcing import Announcer
from resqpy.schedules.chore import Emit, Leader, Look
from resqpy.schedules.repair import ChainRepair
from resqpy.schedules.schedule import (
    RESTING,
    CronTimes,
    Grid,
    MissedRule,
    Plan,
    Schedule,
    State,
)
from resqpy.store import periodic as store
from resqpy.store.connection.client import Store
from resqpy.store.firing import DueJob, Firing
from resqpy.store.periodic import Seen


class _TaskSource:
    """Announced tasks: what both sources have in common."""

    name: str
    scope: Literal["own", "shared"] = "own"
    foreign: bool = False

    def __init__(self, redis: Store, announcer: Announcer) -> None:
        self._store = redis
        self._announcer = announcer
        self._known: dict[str, tuple[tuple[object, ...], Schedule]] = {}

    async def look(self, leader: Leader) -> Look:
        """All that some process still has."""
        seen = await store.look(self._store)
        leader.clock.note(seen.time_us)
        now_ms = leader.clock.now_ms()
        if await self._announcer.mend(seen, now_ms):
            return Look((), now_ms)
        tasks = self._announcer.active(seen, now_ms)
        again_ms = await self._care(leader, seen, tasks, now_ms)
        own = self._own(tasks, seen)
        return Look([self._schedule(name, tasks[name], seen, now_ms) for name in own], again_ms)

    def _own(self, tasks: Mapping[str, Periodic], seen: Seen) -> Iterable[str]:
        """The active tasks that have a time to wait for."""
        raise NotImplementedError

    def _schedule(self, name: str, task: Periodic, seen: Seen, now_ms: int) -> Schedule:
        """The schedule of a task; that of the last look if nothing has changed."""
        now = (
            task, name in seen.paused, seen.stopped.get(name),
            seen.due.get(name), seen.out.get(name), seen.cron.get(name), seen.last.get(name),
        )  # fmt: skip
        known = self._known.get(name)
        if known is None or known[0] != now or known[1].is_new:
            known = self._known[name] = (now, task_schedule(name, task, seen, now_ms))
        return known[1]

    async def _care(
        self, leader: Leader, seen: Seen, tasks: Mapping[str, Periodic], now_ms: int
    ) -> int | None:
        """Other work; returns when (ms) to look again."""


class FrequencySource(_TaskSource):
    """Tasks with a frequency; also repairs their broken chains.

    Args:
        emit: the scheduler's. Events: `re_enqueue` (ms, job), `error`.
    """

    name = "frequency"

    def __init__(self, redis: Store, announcer: Announcer, emit: Emit) -> None:
        super().__init__(redis, announcer)
        self.prefixes: Sequence[str] = (redis.keys.own("periodic", ""),)
        self._repair = ChainRepair(redis, announcer.tasks, emit)
        self._emit = emit

    def _own(self, tasks: Mapping[str, Periodic], seen: Seen) -> Iterable[str]:
        return (name for name in seen.due if name in tasks and tasks[name].cron is None)

    async def _care(
        self, leader: Leader, seen: Seen, tasks: Mapping[str, Periodic], now_ms: int
    ) -> int | None:
        for key, name in await store.drop_odd(self._store, seen):
            message = f"the value of {name!r} in {key!r} is not a time: it was dropped"
            self._emit("error", StoreError(message))
        return now_ms if seen.odd else await self._repair.run(leader, seen, tasks, now_ms)

    def firing(self, schedule: Schedule, what: Plan, jobs: Sequence[DueJob], now_ms: int) -> Firing:
        """The chain is out, or due again later if its job is forbidden."""
        task, next_ms = schedule.declared, what.next_ms
        assert isinstance(task, Periodic)
        assert next_ms is not None
        keys = self._store.keys
        return store.chain_firing(keys, schedule.name, task, jobs, schedule.note, next_ms)


class CronSource(_TaskSource):
    """Tasks with a cron schedule; times of paused and stopped ones are omitted."""

    name = "cron"

    def __init__(self, redis: Store, announcer: Announcer) -> None:
        super().__init__(redis, announcer)
        self.prefixes: Sequence[str] = (redis.keys.periodic_tasks, redis.keys.periodic_paused)

    def _own(self, tasks: Mapping[str, Periodic], seen: Seen) -> Iterable[str]:
        return (name for name, task in tasks.items() if task.cron is not None)

    def firing(self, schedule: Schedule, what: Plan, jobs: Sequence[DueJob], now_ms: int) -> Firing:
        """Up to which time it has been handled, and the last of its fires."""
        task, old = schedule.declared, schedule.note
        assert isinstance(task, Periodic)
        keys = self._store.keys
        return store.cron_firing(keys, schedule.name, task, jobs, old, what.settled_ms)


def task_schedule(
    name: str, task: Periodic, seen: Seen, now_ms: int, *, active: bool = True
) -> Schedule:
    """The schedule of a task.

    Args:
        active: some process still has it.
    """
    schedule = Schedule(
        name, task.kind, _state(name, task, seen, active=active), name, task.queue, task,
        last_ms=seen.last.get(name),
    )  # fmt: skip
    if task.cron is None:
        return _of_frequency(schedule, task, seen, now_ms)
    times, note = CronTimes(task.cron), seen.cron.get(name, "")
    settled, _, text = note.partition(" ")
    settled_ms = noted_ms(settled) if text == task.cron_text else None
    return schedule._replace(
        times=times,
        missed=MissedRule(task.missed, task.window_ms),
        note=note,
        next_ms=times.next_after(now_ms if settled_ms is None else settled_ms),
        is_new=settled_ms is None,
    )


def _of_frequency(schedule: Schedule, task: Periodic, seen: Seen, now_ms: int) -> Schedule:
    """It has a next time while its chain is due, also when paused."""
    name, step_ms, due_ms = schedule.name, task.frequency_ms or 1, seen.due.get(schedule.name)
    after_this = seen.out[name] + step_ms if name in seen.out else now_ms
    return schedule._replace(
        times=Grid(after_this if due_ms is None else due_ms, step_ms),
        note="" if due_ms is None else str(due_ms),
        next_ms=None if schedule.state in RESTING else due_ms,
    )


def _state(name: str, task: Periodic, seen: Seen, *, active: bool) -> State:
    if name in seen.stopped:
        return "failed" if seen.stopped[name] == "failed" else "stopped"
    if name in seen.paused:
        return "paused"
    if not active:
        return "inactive"
    return "under way" if task.cron is None and name in seen.out else "waiting"
