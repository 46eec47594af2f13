"""The slots of one process and the single dispatcher that serves them all.

    dispatch:  ended jobs ─┐                      ┌─ a job for each free slot
                           └►  store.exchange  ───┘
    each job:  execute(run) → Outcome → "ended" list → wakes dispatch

While an exchange is in flight further ends collect for the next: batching with no timer and no
knob. Never more jobs are taken than slots are free. Only the dispatcher reports and takes, and only
between two exchanges does a slot go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from resqpy.base.clock import SYSTEM_CLOCK, Clock
from resqpy.base.errors import StoreError
from resqpy.base.waiting import is_set_within
from resqpy.engine.definition import Definitions
from resqpy.engine.options import WorkerOptions
from resqpy.engine.queue_names import QueueNames
from resqpy.engine.reporting import Reporting
from resqpy.engine.running import End, Runner
from resqpy.engine.slots import Slot, Slots
from resqpy.engine.suspects import Suspects
from resqpy.engine.telling import Events, tell_error
from resqpy.store import queues as queue_store
from resqpy.store.client import Store
from resqpy.store.exchange import Exchanged, Taken

_FIRST_PAUSE_S, _MOST_PAUSE_S = 0.05, 1.0  # after an error of Redis


class Pool:
    """Slots and their dispatcher.

    Args:
        events: who is told of what happens.
        worker: the object that tasks and plugins get as their worker.

    Attributes:
        quiet: take nothing more, for as long as it is set.
        for_good: it will not be taken back.
        stopping: take nothing more, for good.
        paused: all workers are paused, by a key in Redis.
        on_recovered: called when Redis, which was away, is there again.
    """

    def __init__(
        self,
        store: Store,
        definitions: Definitions,
        queues: QueueNames,
        options: WorkerOptions,
        events: Events,
        *,
        worker: Any = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.store = store
        self.queues = queues
        self.slots: Slots = Slots(store, queues.text, options.host, clock)
        self._wake = asyncio.Event()
        self.reporting: Reporting = Reporting(
            store, options, clock, events, self._wake.set, claims=definitions.tracked
        )
        self.runner: Runner = Runner(
            store, definitions, options, clock, self.reporting.add, worker=worker, events=events
        )
        self.suspects: Suspects = Suspects(self.runner.begin)
        self.quiet = self.stopping = self.paused = self.for_good = False
        self.on_recovered: Callable[[], None] = lambda: None
        self._options = options
        self._events = events
        self._changed = asyncio.Event()
        self._halting = asyncio.Event()
        self._serving = False
        self._look = True
        self._names_stale = True
        self._told_broken: set[str] = set()
        self._unusable: set[Slot] = set()

    # -- what others want --

    async def open_slots(self, count: int) -> None:
        """Add slots."""
        for slot in await self.slots.open(count):
            self._events.tell("start", slot)
        self.runner.threads.most = self._options.max_threads or len(self.slots.all)
        self.look()

    def close_slots(self, count: int) -> None:
        """Take slots away, idle ones first; a busy one goes when its job has ended."""
        self.slots.close(count)
        self.look()

    def look(self) -> None:
        """There may be work: ask for it."""
        self._look = True
        self._wake.set()

    def names_changed(self) -> None:
        """The set of queue names changed, or nobody knows."""
        self._names_stale = True
        self._unusable.clear()
        self.look()

    def cancel(self, worker_id: str, run_at: str | None = None) -> bool:
        """Cancel the job that a slot is running; False if it runs none, or another than that of
        `run_at`. It fails as `JobCancelled`.
        """
        for slot in self.slots.all:
            if str(slot.worker_id) == worker_id and slot.run is not None:
                right = run_at is None or run_at.encode() in slot.run.beginning
                return right and self.runner.cancel(slot)
        return False

    async def idle(self) -> None:
        """Return when no job runs and none is on its way."""
        while self._serving or self.slots.busy:
            self._changed.clear()
            await self._changed.wait()

    # -- dispatch --

    async def dispatch(self) -> None:
        """Serve the slots until `halt`."""
        pause_s = 0.0
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._halting.is_set():
                return
            try:
                await self._serve()
                if pause_s:
                    pause_s = 0.0
                    self.on_recovered()
            except StoreError as error:
                pause_s = min(max(pause_s * 2, _FIRST_PAUSE_S), _MOST_PAUSE_S)
                tell_error(self._events, error)
                await is_set_within(self._halting, pause_s)
                self._wake.set()
            finally:
                self._serving = False
                self._changed.set()

    async def halt(self, within_s: float) -> None:
        """Let the dispatcher end after the exchange that is in flight; if that takes too long, its
        owner may cancel it.
        """
        self._halting.set()
        self._wake.set()
        async with asyncio.timeout(within_s):
            while self._serving:
                self._changed.clear()
                await self._changed.wait()

    async def _serve(self) -> None:
        self._serving = True
        for slot in await self.slots.retire():
            self._events.tell("end", slot)
        reporting = self.reporting
        taking = not (self.quiet or self.stopping or self.suspects.active)
        looking = taking and self._look
        if not (reporting.ended or looking or reporting.recover):
            return
        while looking and self._names_stale:  # again, where they changed while we asked
            await self._resolve()
        ended = reporting.next_ended(len(self.slots.all), more=looking)
        free = self._free(ended, taking, looking or reporting.recover)
        if not ended and not free:
            return
        names = self.queues.names if taking else []
        if self._events.heard("poll"):
            self._tell_poll(free, names)
        self._look = False
        try:
            exchanged = await reporting.call(ended, free, names)
        except BaseException:
            self._look = True
            raise
        self._after(ended, free, exchanged)

    async def _resolve(self) -> None:
        self._names_stale = False
        try:
            known = await queue_store.names(self.store)
        except BaseException:
            self._names_stale = True
            raise
        for name in self.queues.resolve(known):
            self._tell_broken(name, "its name is not UTF-8, so no worker could be shown with it")

    def _free(self, ended: list[End], taking: bool, all_of_them: bool) -> list[Slot]:
        """Slots that a job may be taken for: those reported as ended in the same exchange; and,
        where there may be more work, or a job whose taking was not heard of, the idle ones.
        """
        free = [end.slot for end in ended if taking and not end.slot.closing]
        if all_of_them:
            free += [slot for slot in self.slots.all if slot.run is None and not slot.closing]
        return [slot for slot in free if slot not in self._unusable] if self._unusable else free

    def _tell_poll(self, free: list[Slot], names: list[str]) -> None:
        for slot in free:
            for name in names:
                self._events.tell("poll", slot, name)

    # -- after an exchange --

    def _after(self, ended: list[End], free: list[Slot], exchanged: Exchanged) -> None:
        for queue, words in exchanged.broken:
            self._tell_broken(queue, words)
        if exchanged.unusable:
            self._tell_unusable([free[index] for index in exchanged.unusable])
        self.reporting.settle(ended, exchanged)
        self._begin(free, exchanged.taken)
        if self.suspects.settle(self.slots.busy):
            self.look()
        self.paused = exchanged.paused
        if exchanged.full and not self.paused:
            self.look()
        elif free and not exchanged.taken and self._events.heard("pause"):
            for slot in free:
                self._events.tell("pause", slot)

    def _begin(self, free: list[Slot], jobs: list[Taken]) -> None:
        heard = self._events.heard("job")
        for taken in jobs:
            slot = free[taken.index]
            run = self.runner.take(slot, taken)
            if heard:
                self._events.tell("job", slot, run.queue, run.job)
            if self.quiet:  # since that exchange was asked
                self.runner.return_untouched(slot, run)
            elif not self.suspects.hold(slot, run):
                self.runner.begin(slot, run)

    def _tell_broken(self, queue: str, words: str) -> None:
        if queue not in self._told_broken:
            self._told_broken.add(queue)
            error = StoreError(f"queue {queue!r} can't be worked: {words}")
            self._events.tell("error", None, error, queue, None)

    def _tell_unusable(self, slots: list[Slot]) -> None:
        self._unusable.update(slots)
        for slot in slots:
            error = StoreError(f"what worker {slot.worker_id} has on record is not of our making")
            self._events.tell("error", slot, error, None, None)

    async def close(self) -> None:
        """Close what belongs to the pool."""
        self.runner.threads.close()
        await self.reporting.exchange.close()
