"""The one chore that fires schedules, whatever their source.

All rests on the note of each schedule in Redis. It moves in the step that enqueues the jobs, and only from the
value that was read; so whoever dies when, and however clocks step, no fire is doubled, and none is left
out but by the schedule's own rule. Time is Redis' clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from resqpy.base.errors import StoreError
from resqpy.base.foreign_time import LATEST_MS
from resqpy.schedules.schedule import Plan, Schedule, plan
from resqpy.store.connection.client import Store
from resqpy.store.firing import CHANGED, DueJob, Firing, fire
from resqpy.store.promote import Right
from resqpy.store.queues import Guard

_AFTER_CHANGE_MS, _AFTER_ERROR_MS = 100, 1000

Emit = Callable[..., None]


class LeaderClock(Protocol):
    """Redis' clock as the leader estimates it."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""

    def note(self, time_us: int) -> None:
        """Redis has just said what time it is, in microseconds since the epoch."""


class Leader(Right, Protocol):
    """The right to write as leader, with the clock that all leaders share."""

    @property
    def clock(self) -> LeaderClock:
        """Redis' clock."""


class EnqueueHooks(Protocol):
    """What the tasks' plugins say of a job that is about to be enqueued."""

    def guards(self, queue: str, name: str, args: Sequence[Any]) -> Sequence[Guard]:
        """The locks that are asked in the script."""

    async def allowed(
        self, queue: str, name: str, args: Sequence[Any], *, fixed: bool
    ) -> Sequence[Any] | None:
        """The arguments as the hooks leave them; None: they forbid it.

        Args:
            fixed: its bytes are written already, so they can only forbid it.
        """

    async def enqueued(self, queue: str, name: str, args: Sequence[Any], at_ms: int) -> None:
        """Tell the hooks, and whoever hears of `enqueue`."""


class Look(NamedTuple):
    """What a source has found.

    Attributes:
        schedules: those that the leader is to run.
        again_ms: when the source itself wants to look again; None: it doesn't matter.
    """

    schedules: Sequence[Schedule]
    again_ms: int | None = None


class Source(Protocol):
    """One kind of schedules: how they stand in Redis.

    Attributes:
        name: that of its chore.
        scope: the leadership that it needs.
        prefixes: beginnings of the keys whose change makes it worth a look.
        foreign: the bytes of its jobs are another's, so that no hook changes them.
    """

    name: str
    scope: Literal["own", "shared"]
    prefixes: Sequence[str]
    foreign: bool

    async def look(self, leader: Leader) -> Look:
        """Read what there is, and tell the clock what time Redis has."""

    def firing(self, schedule: Schedule, what: Plan, jobs: Sequence[DueJob], now_ms: int) -> Firing:
        """The jobs, what the script compares, and what it writes beside them.

        Args:
            jobs: for the times of the plan that no hook forbids.
        """


class ScheduleChore:
    """Enqueues the jobs of one source's schedules.

    Args:
        emit: the scheduler's. Events: `error`.
        longest_s: seconds between looks.
    """

    def __init__(
        self, store: Store, source: Source, hooks: EnqueueHooks, emit: Emit, longest_s: float
    ) -> None:
        self.name: str = source.name
        self.scope: Literal["own", "shared"] = source.scope
        self.prefixes: Sequence[str] = source.prefixes
        self._store = store
        self._source = source
        self._hooks = hooks
        self._emit = emit
        self._longest_ms = int(longest_s * 1000)

    async def run(self, leadership: Leader) -> float:
        """Enqueue what is due; seconds until something is."""
        look = await self._source.look(leadership)
        now_ms = leadership.clock.now_ms()
        due, waiting = [], [look.again_ms]
        for each in look.schedules:
            if each.is_due(now_ms):
                due.append(self._settle(leadership, each))
            else:
                waiting.append(each.next_ms)
        times_ms = [ms for ms in (*waiting, *await asyncio.gather(*due)) if ms is not None]
        wait_ms = min(times_ms, default=LATEST_MS) - leadership.clock.now_ms()
        return max(min(wait_ms, self._longest_ms), 0) / 1000

    async def _settle(self, leader: Leader, schedule: Schedule) -> int | None:
        """Carry out what is due of one schedule; when (ms) something is again."""
        now_ms = leader.clock.now_ms()
        queue, name = schedule.queue, schedule.class_name
        what = plan(schedule, now_ms)
        jobs = await self._allowed(schedule, what.fires)
        firing = self._source.firing(schedule, what, jobs, now_ms)
        guards = [self._hooks.guards(queue, name, job.args) for job in jobs]
        firing = firing._replace(queue=queue, guards=guards)
        try:
            done = await fire(self._store, leader, firing)
        except StoreError as error:  # its queue is no list, say: the other schedules go on
            self._emit("error", error)
            return now_ms + _AFTER_ERROR_MS
        if done == CHANGED:
            return now_ms + _AFTER_CHANGE_MS
        for job in jobs[:done]:
            await self._hooks.enqueued(queue, name, job.args, job.at_ms)
        return what.next_ms

    async def _allowed(self, schedule: Schedule, fires: Sequence[int]) -> list[DueJob]:
        """The jobs that no hook forbids, as the hooks leave them."""
        jobs: list[DueJob] = []
        for at_ms in fires:
            args = await self._hooks.allowed(
                schedule.queue, schedule.class_name, schedule.declared.arguments,
                fixed=self._source.foreign,
            )  # fmt: skip
            if args is not None:
                jobs.append(DueJob(at_ms, args))
        return jobs
