"""The one chore that fires schedules, whatever their source.

Each schedule has a note in Redis. It changes in the step that enqueues the jobs, and only if it still has
the value that was read. So no fire is doubled, and none is omitted except by the schedule's own rule, even
if processes die or clocks jump. Time is Redis' clock.
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
from resqpy.store.promote import FencingToken
from resqpy.store.queues import Guard

_AFTER_CHANGE_MS, _AFTER_ERROR_MS = 100, 1000

Emit = Callable[..., None]


class LeaderClock(Protocol):
    """Redis' clock as the leader estimates it."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""

    def note(self, time_us: int) -> None:
        """Record Redis' time, just received, in microseconds since the epoch."""


class Leader(FencingToken, Protocol):
    """The right to write as leader, with the clock that all leaders share."""

    @property
    def clock(self) -> LeaderClock:
        """Redis' clock."""


class EnqueueHooks(Protocol):
    """The enqueue hooks of the tasks' plugins."""

    def guards(self, queue: str, name: str, args: Sequence[Any]) -> Sequence[Guard]:
        """The locks to check in the script."""

    async def allowed(
        self, queue: str, name: str, args: Sequence[Any], *, fixed: bool
    ) -> Sequence[Any] | None:
        """The arguments after the hooks; None: a hook forbids the job.

        Args:
            fixed: its bytes already exist, so hooks can only forbid it.
        """

    async def enqueued(self, queue: str, name: str, args: Sequence[Any], at_ms: int) -> None:
        """Call the hooks and the listeners of `enqueue`."""


class Look(NamedTuple):
    """Result of reading a source.

    Attributes:
        schedules: those the leader runs.
        again_ms: when the source wants to be read again; None: any time.
    """

    schedules: Sequence[Schedule]
    again_ms: int | None = None


class Source(Protocol):
    """A kind of schedules, as stored in Redis.

    Attributes:
        name: the name of its chore.
        scope: the leadership that it needs.
        prefixes: prefixes of the keys whose changes wake the chore.
        foreign: its jobs' bytes are written by others, so hooks can't change them.
    """

    name: str
    scope: Literal["own", "shared"]
    prefixes: Sequence[str]
    foreign: bool

    async def look(self, leader: Leader) -> Look:
        """Read the schedules, and give Redis' time to the clock."""

    def firing(self, schedule: Schedule, what: Plan, jobs: Sequence[DueJob], now_ms: int) -> Firing:
        """The jobs, what the script compares, and what it writes besides.

        Args:
            jobs: for the times of the plan, without those that a hook forbids.
        """


class ScheduleChore:
    """Enqueues the jobs of one source's schedules.

    Args:
        emit: the scheduler's. Events: `error`.
        longest_s: maximum seconds between checks.
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
        """Enqueue what is due; returns the seconds until something is due again."""
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
        """Fire what is due of one schedule; returns when (ms) something is due again."""
        now_ms = leader.clock.now_ms()
        queue, name = schedule.queue, schedule.class_name
        what = plan(schedule, now_ms)
        jobs = await self._allowed(schedule, what.fires)
        firing = self._source.firing(schedule, what, jobs, now_ms)
        guards = [self._hooks.guards(queue, name, job.args) for job in jobs]
        firing = firing._replace(queue=queue, guards=guards)
        try:
            done = await fire(self._store, leader, firing)
        except StoreError as error:  # e.g. its queue is not a list: the other schedules continue
            self._emit("error", error)
            return now_ms + _AFTER_ERROR_MS
        if done == CHANGED:
            return now_ms + _AFTER_CHANGE_MS
        for job in jobs[:done]:
            await self._hooks.enqueued(queue, name, job.args, job.at_ms)
        return what.next_ms

    async def _allowed(self, schedule: Schedule, fires: Sequence[int]) -> list[DueJob]:
        """The jobs, as the hooks leave them, without those that a hook forbids."""
        jobs: list[DueJob] = []
        for at_ms in fires:
            args = await self._hooks.allowed(
                schedule.queue, schedule.class_name, schedule.declared.arguments,
                fixed=self._source.foreign,
            )  # fmt: skip
            if args is not None:
                jobs.append(DueJob(at_ms, args))
        return jobs
