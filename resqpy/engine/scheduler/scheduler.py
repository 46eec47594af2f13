"""The role of a scheduler: to stand for election, and to run the chores while it leads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from resqpy.base.clock import Clock
from resqpy.base.concurrency.loops import on_its_loop
from resqpy.base.concurrency.waiting import Deadline
from resqpy.base.errors import StoreError
from resqpy.engine.options import LeaderOptions
from resqpy.engine.queue.client import Connection
from resqpy.engine.queue.queue import Queue
from resqpy.engine.role import LAST_S, Role, within_limit
from resqpy.engine.scheduler.chores import Chore, ChoreLoop
from resqpy.engine.scheduler.election import Election, Leadership
from resqpy.engine.worker import identity
from resqpy.schedules.announcing import Announcer, own_tasks
from resqpy.store.connection.tracker import Tracker

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
