"""Two sources: periodic tasks with a frequency, and those with a cron schedule.

A frequency means one job in the whole installation, again after each end, to the millisecond. Its times are
not kept in Resque's delayed lists, which have only seconds, and which Ruby's and Node's schedulers may
empty early, twice, or without running anything. Its note is the time at which the chain is due. See
docs/reference/periodic.md.

A cron schedule has a job for every time that it names. Its note is `<ms> <schedule>`: up to which time it
has been handled. The note of a different schedule is ignored, so changing a schedule makes up for nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from resqpy.base import periodic
from resqpy.base.errors import StoreError, UsageError
from resqpy.base.foreign_time import noted_ms
from resqpy.base.periodic import Periodic, next_on_grid
from resqpy.schedules.schedule import (
    RESTING,
    CronTimes,
    Emit,
    Grid,
    Leader,
    Look,
    MissedRule,
    Plan,
    Schedule,
    State,
)
from resqpy.store import periodic as store
from resqpy.store.connection.client import Store
from resqpy.store.periodic import BOOT, LOST, MENDED, RENEW, DueJob, Firing, Seen

# Broken chains: the one job of a periodic task was lost, so that nothing would make it due again.
#
# Causes: a worker died with an at-most-once run; a foreign worker, which knows nothing of chains, ran it;
# somebody deleted it; Redis was flushed. If a chain's job did not end within its period we look for it; if it
# is nowhere, twice in a row (between two commands of a Ruby worker a job is nowhere), the chain becomes due
# again.

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


# Periodic tasks are data: each process announces its own, and the leader runs what is announced.
#
# So a leader with other code, or another version of it, runs them too. A task that nobody announces any more
# becomes inactive after a minute and is forgotten after a week.

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
