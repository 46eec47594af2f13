"""The role of a scheduler: to stand for election, and to run the chores while it leads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

from resqpy.base.clock import Clock
from resqpy.base.concurrency.loops import on_its_loop
from resqpy.base.concurrency.own_tasks import Deadline, is_set_within, raise_if_cancelled
from resqpy.base.errors import Deposed, StoreError
from resqpy.engine.options import LeaderOptions
from resqpy.engine.queue.queue import Queue
from resqpy.engine.role import LAST_S, Connection, Role, within_limit
from resqpy.engine.scheduler.election import Election, Leadership, Scope
from resqpy.engine.worker import identity
from resqpy.schedules.tasks import Announcer, own_tasks
from resqpy.store.connection.tracker import Tracker

# Chores, the work of a leader: each has its own loop, so that none waits for another.
#
# The contract of a chore:
#
# - `scope` says what it needs: "own" runs while we lead among the resqpy schedulers, "shared" only while we
#   also hold Ruby's and Node's locks.
# - `run(leadership)` does what is to be done now and returns the seconds until it wants to run again (None:
#   the default, `timeout_s`). It runs immediately when we become leader, when a key with one of `prefixes`
#   changes, whoever changed it, and when `Scheduler.wake(name)` is called.
# - It writes only by `leadership.run(script, …)`: those scripts check the leader's token first and raise
#   `Deposed` if another scheduler leads. `Deposed` may leave `run`; it is not an error.
# - It may be killed at any await; a successor, which knows only what is in Redis, must be able to repeat its
#   work.
# - Time is `leadership.clock.now_ms()`: Redis' clock, the only one that all schedulers share.
# - Other errors are emitted as the event `error`; it runs again after a pause, and the others continue.
#
# A chore is not cancelled when we lose the leadership; its later writes are refused.

_FIRST_RETRY_S = 0.25
_GAP_S = 0.005  # a burst of a thousand changes needs only one look


class Chore(Protocol):
    """One kind of work of the leader; see the module for the contract."""

    @property
    def name(self) -> str:
        """Its name in errors and for `Scheduler.wake`."""

    @property
    def scope(self) -> Scope:
        """Which leadership it needs."""

    @property
    def prefixes(self) -> Sequence[str]:
        """Prefixes of the keys whose changes wake it."""

    async def run(self, leadership: Leadership) -> float | None:
        """Do what is to be done now; returns the seconds until the next time, None for the default."""


class ChoreLoop:
    """Runs one chore whenever it wants to run and is allowed to.

    Args:
        leadership: called before each run.
        on_error: called with errors.
        default_s: seconds to the next run if the chore returns None.
    """

    def __init__(
        self,
        chore: Chore,
        leadership: Callable[[Scope], Leadership | None],
        on_error: Callable[[BaseException], None],
        default_s: float,
    ) -> None:
        self.chore = chore
        self._leadership = leadership
        self._on_error = on_error
        self._default_s = default_s
        self._woken = asyncio.Event()
        self._errors = 0
        self._token: str | None = None
        self._prefixes = tuple(prefix.encode() for prefix in chore.prefixes)

    def wake(self) -> None:
        """Run soon."""
        self._woken.set()

    def stand(self) -> None:
        """Run soon if we lead now and did not, or not in this epoch, at the last run."""
        leadership = self._leadership(self.chore.scope)
        if leadership is not None and leadership.token != self._token:
            self._woken.set()

    def changed(self, keys: Sequence[bytes] | None) -> None:
        """Run soon if one of these keys matters; None: anything may have changed."""
        if keys is None or any(key.startswith(self._prefixes) for key in keys):
            self._woken.set()

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            self._woken.clear()
            leadership = self._leadership(self.chore.scope)
            self._token = None if leadership is None else leadership.token
            wait_s = None if leadership is None else await self._once(leadership)
            await self._pause(self._default_s if wait_s is None else wait_s)

    async def _once(self, leadership: Leadership) -> float | None:
        try:
            wait_s = await self.chore.run(leadership)
        except Deposed:
            self._token = None  # the next round of the election finds out who leads
            return None
        except BaseException as error:
            raise_if_cancelled(error)
            self._on_error(error)
            self._errors += 1
            return min(_FIRST_RETRY_S * 2.0**self._errors, self._default_s)
        self._errors = 0
        return wait_s

    async def _pause(self, seconds: float) -> None:
        if await is_set_within(self._woken, max(seconds, 0)):
            await asyncio.sleep(_GAP_S)


_RESIGN_S, _CLOSE_S = 3.0, 1.0  # of LAST_S, for the last steps of a stop


class SchedulerRole(Role):
    """Stands for election, and runs its chores while it leads; the framework's `Scheduler` chooses them."""

    leads: ClassVar[bool] = True

    def __init__(
        self,
        connection: Connection,
        jobs: Mapping[str, Any] | None,
        options: LeaderOptions,
        clock: Clock,
    ) -> None:
        super().__init__(connection)
        self.options: LeaderOptions = options
        self.name: str = identity.leader_name(self.options.name)
        self.queue: Queue = Queue(self.store, jobs, clock)
        self.announcer: Announcer = Announcer(
            self.store, own_tasks(self.queue.definitions), self._trouble
        )
        self.chores: list[Chore] = []
        self._clock = clock
        self._election: Election | None = None
        self._loops: dict[str, ChoreLoop] = {}
        self._led: bool | None = None

    # -- who leads --

    @property
    def leader(self) -> bool:
        """Whether we lead among the resqpy schedulers: for user code with its own timetable."""
        return self.leadership() is not None

    @property
    def master(self) -> bool:
        """The former name of `leader`."""
        return self.leader

    @property
    def promoting(self) -> bool:
        """Whether we also hold Ruby's and Node's locks, and so promote due jobs."""
        return self._election is not None and self._election.leadership("shared") is not None

    @property
    def foreign_leader(self) -> str | None:
        """The name of a Ruby or Node scheduler that leads; it promotes, we don't."""
        return self._election.foreign_leader if self._election is not None else None

    def leadership(self) -> Leadership | None:
        """The right to write as leader in the own scope, if we have it."""
        return self._election.leadership("own") if self._election is not None else None

    # -- life cycle --

    async def _begin(self) -> None:
        election = self._election = Election(
            self.store, self.options, self.name, self._elected, self._trouble, self._clock
        )
        self._loops = {chore.name: self._loop(chore, election) for chore in self.chores}
        self.emit("start")
        for side in (election.run, *(loop.run for loop in self._loops.values())):
            self.spawn(side)
        if self.announcer.tasks:
            self.spawn(self.announcer.run)
        prefixes = [prefix for chore in self.chores for prefix in chore.prefixes]
        if prefixes:  # without any, Redis would report every key
            self.spawn(self._new_tracker(prefixes).run)

    def _new_tracker(self, prefixes: list[str]) -> Tracker:
        return Tracker(
            self.store,
            prefixes,
            on_change=self._changed,
            on_fallback=lambda error: self._trouble(_no_tracking(error)),
        )

    def _loop(self, chore: Chore, election: Election) -> ChoreLoop:
        return ChoreLoop(chore, election.leadership, self._trouble, self.options.timeout_s)

    def wake(self, name: str) -> None:
        """Let a chore run soon."""
        if name in self._loops:
            self._loops[name].wake()

    def _changed(self, keys: list[bytes] | None) -> None:
        for loop in self._loops.values():
            loop.changed(keys)

    def _elected(self) -> None:
        """The election had a round: emit changes, and let the chores check who leads."""
        leads = self.leader
        if leads != self._led:
            self._led = leads
            self.emit("leader" if leads else "follower")
        for loop in self._loops.values():
            loop.stand()

    def _trouble(self, error: BaseException) -> None:
        """Report an error."""
        self.emit("error", error)

    @on_its_loop
    async def stop(self) -> None:
        """Stop, and give up the leadership so that another can take it at once."""
        await self._stop_by(self._stop)

    async def _stop(self) -> None:
        assert self._election is not None
        deadline = Deadline(LAST_S)
        await self._end_side_tasks(deadline)
        resigning = self._election.resign()
        await within_limit(deadline.left(_RESIGN_S), "giving up the leadership", resigning)
        await within_limit(deadline.left(_CLOSE_S), "closing the connection", self._close_store())
        self.emit("end")


def _no_tracking(error: Exception) -> StoreError:
    return StoreError(f"Redis can't wake us up ({error}); polling instead")
