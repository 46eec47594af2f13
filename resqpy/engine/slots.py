"""The slots of one process: each a Resque worker of its own to Ruby's and Node's eyes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING

from resqpy.base.clock import Clock, iso_utc
from resqpy.base.model import WorkerId
from resqpy.base.own_tasks import OwnTask
from resqpy.engine import identity
from resqpy.store import workers
from resqpy.store.client import Store
from resqpy.store.exchange import Place

if TYPE_CHECKING:
    from resqpy.engine.run import Run


class Slot:
    """A place for one job.

    Attributes:
        run: the job it has, from its taking until its end is written.
        closing: it gets no further job, and goes when it is idle.
        place: what the exchange is told of it.
    """

    __slots__ = ("closing", "number", "place", "run", "task", "worker_id")

    def __init__(self, number: int, worker_id: WorkerId) -> None:
        self.number: int = number
        self.worker_id: WorkerId = worker_id
        self.place: Place = Place.of(worker_id)
        self.run: Run | None = None
        self.task: OwnTask[None] | None = None
        self.closing: bool = False


class Slots:
    """The slots, and what Redis knows of them.

    Attributes:
        all: replaced as a whole, never changed in place: the heartbeat's thread reads it.
        incarnation: names this life of this process.
        started: when it began, as Ruby writes it.
    """

    def __init__(self, store: Store, queues: str, host: str | None, clock: Clock) -> None:
        self.all: tuple[Slot, ...] = ()
        self.incarnation: str = identity.new_incarnation()
        self.started: str = f"{iso_utc(clock.now_us())[:19].replace('T', ' ')} +0000"
        self._store = store
        self._queues = queues
        self._host = host
        self._gone: list[WorkerId] = []

    @property
    def size(self) -> int:
        """How many there are, those that are closing not counted."""
        return sum(not slot.closing for slot in self.all)

    @property
    def busy(self) -> list[Slot]:
        """Those with a job whose end is not written yet."""
        return [slot for slot in self.all if slot.run is not None]

    @property
    def worker_ids(self) -> tuple[WorkerId, ...]:
        """The ids under which Ruby and Node see us."""
        return tuple(slot.worker_id for slot in self.all)

    async def open(self, count: int) -> list[Slot]:
        """Make it `count` more, and make them known; those that are closing stay, first of all.

        Returns:
            The new ones.
        """
        for slot in [slot for slot in self.all if slot.closing][:count]:
            slot.closing = False
            count -= 1
        if count <= 0:
            return []
        fresh = [Slot(number, self._new_id(number)) for number in self._unused(count)]
        ids = [slot.worker_id for slot in fresh]
        await workers.register(self._store, self.incarnation, ids, self.started)
        self.all += tuple(fresh)
        return fresh

    def _new_id(self, number: int) -> WorkerId:
        return identity.worker_id(number, self.incarnation, self._queues, self._host)

    def _unused(self, count: int) -> list[int]:
        used = {slot.number for slot in self.all}
        return list(itertools.islice((n for n in itertools.count(1) if n not in used), count))

    def close(self, count: int) -> None:
        """Make it `count` fewer, idle ones first; a busy one goes when its job has ended."""
        staying = [slot for slot in self.all if not slot.closing]
        for slot in sorted(staying, key=lambda slot: (slot.run is not None, -slot.number))[:count]:
            slot.closing = True

    async def retire(self) -> list[Slot]:
        """Let go of the idle ones that are closing; for the dispatcher, between two exchanges."""
        leaving = [slot for slot in self.all if slot.closing and slot.run is None]
        if leaving:
            self.all = tuple(slot for slot in self.all if slot not in leaving)
            self._gone += [slot.worker_id for slot in leaving]
        if self._gone:
            await workers.unregister(self._store, self._gone)
            self._gone = []
        return leaving

    def beaten(self, ids: Iterable[WorkerId]) -> bool:
        """A sign of life was given for these; whether one of them has left meanwhile, and so has
        been registered again by it.
        """
        ghosts = set(ids) - set(self.worker_ids)
        self._gone += ghosts
        return bool(ghosts)

    async def unregister(self) -> None:
        """Forget the idle ones, and the process if no other is left."""
        idle = [slot.worker_id for slot in self.all if slot.run is None]
        gone = None if self.busy else self.incarnation
        await workers.unregister(self._store, [*self._gone, *idle], gone)
        self.all = tuple(self.busy)
