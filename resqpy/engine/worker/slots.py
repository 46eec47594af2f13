"""The slots of one process: each is a separate Resque worker for Ruby and Node."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from resqpy.base.clock import Clock, iso_utc
from resqpy.base.concurrency.own_tasks import OwnTask
from resqpy.base.model import WorkerId
from resqpy.engine.worker import identity
from resqpy.store import workers
from resqpy.store.connection.client import Store
from resqpy.store.exchange import SlotRef

if TYPE_CHECKING:
    from resqpy.engine.run import Run


class Slot:
    """A place for one job.

    Attributes:
        run: its job, from the claim until its end is written.
        closing: it gets no further job, and is removed when idle.
        offered: how many unanswered exchanges name it.
        place: the slot as the exchange refers to it.
    """

    __slots__ = ("closing", "number", "offered", "place", "run", "task", "worker_id")

    def __init__(self, number: int, worker_id: WorkerId) -> None:
        self.number: int = number
        self.worker_id: WorkerId = worker_id
        self.place: SlotRef = SlotRef.of(worker_id, f"-{number}-")
        self.run: Run | None = None
        self.task: OwnTask[None] | None = None
        self.closing: bool = False
        self.offered: int = 0

    @property
    def idle(self) -> bool:
        """It has no job, and certainly none is on its way."""
        return self.run is None and not self.offered


class Slots:
    """The slots, and their registration in Redis.

    Attributes:
        all: replaced as a whole, never modified: the heartbeat's thread reads it.
        incarnation: identifies this life of this process.
        started: when it began, as Ruby writes it.
        spoiled: ids that have left, but stay registered because their record is not empty; their numbers
            are not reused.
        facts: what others are told of the process besides, in JSON.
    """

    def __init__(self, store: Store, queues: str, host: str | None, clock: Clock) -> None:
        self.all: tuple[Slot, ...] = ()
        self.incarnation: str = identity.new_incarnation()
        self.started: str = f"{iso_utc(clock.now_us())[:19].replace('T', ' ')} +0000"
        self._store = store
        self._queues = queues
        self._host = host
        self._most = 0
        self._gone: list[WorkerId] = []  # still to be removed from Redis
        self.spoiled: list[WorkerId] = []
        self.facts: dict[str, Any] = {}

    @property
    def size(self) -> int:
        """How many there are, without closing ones."""
        return sum(not slot.closing for slot in self.all)

    @property
    def busy(self) -> list[Slot]:
        """Those with a job whose end is not written yet."""
        return [slot for slot in self.all if slot.run is not None]

    def idle(self, maximum: int) -> list[Slot]:
        """Those that a job can be claimed for, up to a maximum."""
        return list(itertools.islice(
            (each for each in self.all if each.run is None and not (each.offered or each.closing)),
            maximum,
        ))  # fmt: skip

    @property
    def worker_ids(self) -> tuple[WorkerId, ...]:
        """The ids under which Ruby and Node see us."""
        return tuple(slot.worker_id for slot in self.all)

    async def open(self, count: int, epoch: int | None = None) -> list[Slot]:
        """Add `count` slots and register them; closing ones are kept first.

        Args:
            epoch: of the first exchange, for a process that starts.

        Returns:
            The new ones.
        """
        for slot in [slot for slot in self.all if slot.closing][:count]:
            slot.closing = False
            count -= 1
        if count <= 0:
            return []
        fresh = [Slot(number, self._new_id(number)) for number in self._unused(count)]
        self._most = max(self._most, *(slot.number for slot in fresh))
        ids = [slot.worker_id for slot in fresh]
        try:
            await self._register(ids, epoch)
        except BaseException:
            self._gone += ids  # it may have been done
            raise
        self.all += tuple(fresh)
        return fresh

    async def rejoin(self, epoch: int) -> None:
        """Register again, in a Redis that has forgotten us or where we were presumed dead."""
        await self._register(self.worker_ids, epoch)

    async def _register(self, ids: Sequence[WorkerId], epoch: int | None) -> None:
        life = identity.life(self._most, self._queues, self._host, self.facts)
        await workers.register(
            self._store, self.incarnation, ids, self.started, epoch=epoch, life=life
        )

    async def tell_facts(self) -> None:
        """Publish `facts`, which have changed. One round trip."""
        await self._register((), None)

    def _new_id(self, number: int) -> WorkerId:
        return identity.worker_id(number, self.incarnation, self._queues, self._host)

    def _unused(self, count: int) -> list[int]:
        used = {slot.number for slot in self.all}
        used.update(map(identity.number_of, (*self._gone, *self.spoiled)))
        return list(itertools.islice((n for n in itertools.count(1) if n not in used), count))

    def close(self, count: int) -> None:
        """Remove `count` slots, idle ones first; a busy one is removed when its job has ended."""
        staying = [slot for slot in self.all if not slot.closing]
        for slot in sorted(staying, key=lambda slot: (slot.run is not None, -slot.number))[:count]:
            slot.closing = True

    async def retire(self) -> list[Slot]:
        """Remove the idle closing ones; only while no exchange is in doubt, because it might have given
        them a job.
        """
        leaving = [slot for slot in self.all if slot.closing and slot.idle]
        if leaving:
            self.all = tuple(slot for slot in self.all if slot not in leaving)
            self._gone += [slot.worker_id for slot in leaving]
        if self._gone:
            gone = list(self._gone)
            self._note_spoiled(await workers.leave(self._store, self.incarnation, gone))
            self._gone = [each for each in self._gone if each not in gone]
        return leaving

    def beaten(self, ids: Iterable[WorkerId]) -> bool:
        """A heartbeat was sent for these; returns whether one of them was removed meanwhile, and so has
        been registered again by it.
        """
        ghosts = set(ids) - set(self.worker_ids)
        self._gone += ghosts
        return bool(ghosts)

    async def leave(self) -> None:
        """Take the process and its slots out of Redis, but those that still have a record; also slots that
        it had, which something that was not answered may have registered again.
        """
        had = map(self._new_id, range(1, self._most + 1))
        ids = [each for each in had if each not in self.spoiled]
        stay = await workers.leave(self._store, self.incarnation, ids, process=True)
        self.all = tuple(self.busy)
        self._note_spoiled([each for each in stay if each not in self.worker_ids])

    def _note_spoiled(self, ids: Sequence[WorkerId]) -> None:
        self.spoiled += [each for each in ids if each not in self.spoiled]
