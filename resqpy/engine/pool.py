"""The slots of one process and the single dispatcher that serves them all.

    dispatch:  ended runs ─┐                      ┌─ a job for each free slot
                           └►  store.exchange  ───┘
    each job:  execute(run) → Outcome → "ended" list → wakes dispatch

While an exchange is in flight further ends collect for the next: batching with no timer and no
knob. Never more jobs are taken than slots are free.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

from resqpy.base.clock import SYSTEM_CLOCK, Clock, iso_utc
from resqpy.base.errors import PayloadError, ResqpyError, StoreError
from resqpy.base.model import WorkerId
from resqpy.engine import identity
from resqpy.engine.definition import Definitions
from resqpy.engine.endings import ended as ended_of
from resqpy.engine.execute import execute, failure
from resqpy.engine.options import WorkerOptions
from resqpy.engine.outcome import Kind, Outcome
from resqpy.engine.queue_names import QueueNames
from resqpy.engine.run import Run
from resqpy.engine.taking import run_of
from resqpy.engine.threads import ThreadRunner
from resqpy.store import queues as queue_store
from resqpy.store import workers as worker_store
from resqpy.store.client import Store
from resqpy.store.exchange import Exchange, Exchanged, Taken

Tell = Callable[..., None]


class Slot:
    """A place for one job; a Resque worker of its own to Ruby's and Node's eyes."""

    __slots__ = ("closing", "number", "run", "task", "worker_id")

    def __init__(self, number: int, worker_id: WorkerId) -> None:
        self.number = number
        self.worker_id = worker_id
        self.run: Run | None = None
        self.task: asyncio.Task[None] | None = None
        self.closing = False


class Pool:
    """Slots and their dispatcher.

    Args:
        tell: called as `tell(event, slot, *details)`; slot is None for what concerns all.
        worker: the object that tasks and plugins get as their worker.
    """

    def __init__(
        self,
        store: Store,
        definitions: Definitions,
        queues: QueueNames,
        options: WorkerOptions,
        tell: Tell,
        *,
        worker: Any = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.store = store
        self.queues = queues
        self.options = options
        self.incarnation = identity.new_incarnation()
        self.slots: list[Slot] = []
        self.paused = False
        self.quiet = False
        self._definitions = definitions
        self._tell = tell
        self._worker = worker
        self._clock = clock
        self._exchange = Exchange(store, options.max_payload)
        self.threads = ThreadRunner(options.max_threads or 1)
        self._ended: list[tuple[Slot, Run, Outcome]] = []
        self._wake = asyncio.Event()
        self._look = True
        self._names_stale = queues.dynamic
        self._recover = False
        self._last_us = 0
        self._taken = 0
        self._freed: asyncio.Event = asyncio.Event()
        self._broken: set[str] = set()

    # -- slots --

    async def open_slots(self, count: int) -> list[Slot]:
        """Add slots and make them known."""
        numbers = self._free_numbers(count)
        text, host = self.queues.text, self.options.host
        fresh = [Slot(n, identity.worker_id(n, self.incarnation, text, host)) for n in numbers]
        started = iso_utc(self._clock.now_us())[:19].replace("T", " ") + " +0000"
        ids = [slot.worker_id for slot in fresh]
        await worker_store.register(self.store, self.incarnation, ids, started)
        self.slots += fresh
        self.threads.set_most(self.options.max_threads or len(self.slots))
        self.look()
        return fresh

    def _free_numbers(self, count: int) -> list[int]:
        used = {slot.number for slot in self.slots}
        unused = (number for number in itertools.count(1) if number not in used)
        return list(itertools.islice(unused, count))

    async def close_slots(self, count: int) -> list[Slot]:
        """Take away slots, idle ones first; a busy one is waited for without being filled again."""
        chosen = sorted(self.slots, key=lambda slot: (slot.run is not None, -slot.number))[:count]
        for slot in chosen:
            slot.closing = True
        while any(slot.run is not None for slot in chosen):
            self._freed.clear()
            await self._freed.wait()
        self.slots = [slot for slot in self.slots if slot not in chosen]
        await worker_store.unregister(self.store, [slot.worker_id for slot in chosen])
        return chosen

    @property
    def busy(self) -> list[Slot]:
        """Slots with a job that has not been reported yet."""
        return [slot for slot in self.slots if slot.run is not None]

    # -- wake-up --

    def look(self) -> None:
        """There may be work: ask for it."""
        self._look = True
        self._wake.set()

    def names_changed(self) -> None:
        """The set of queue names changed."""
        self._names_stale = self.queues.dynamic
        self.look()

    # -- dispatch --

    async def dispatch(self) -> None:
        """Serve the slots until cancelled."""
        pause_s = 0.0
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._serve()
                pause_s = 0.0
            except StoreError as error:
                self._recover = True
                pause_s = min(max(pause_s * 2, 0.05), 2.0)
                self._tell("error", None, error, None, None)
                await asyncio.sleep(pause_s)
                self._wake.set()

    async def _serve(self) -> None:
        looking = self._look and not self.quiet
        if not self._ended and not looking and not self._recover:
            return
        if looking and self._names_stale:
            self._names_stale = False
            self.queues.resolve(await queue_store.names(self.store))
        ended, self._ended = self._ended, []
        free = self._free(ended)
        if not ended and not free:
            return
        self._look = False
        try:
            exchanged = await self._call(ended, free)
        except BaseException:
            self._ended = ended + self._ended
            self._look = True
            raise
        self._recover = False
        self._after(ended, free, exchanged)

    def _free(self, ended: list[tuple[Slot, Run, Outcome]]) -> list[Slot]:
        """Slots that a job may be taken for: idle, or reported as ended in the same exchange."""
        if self.quiet:
            return []
        done = {slot.number for slot, _, _ in ended}
        return [
            slot
            for slot in self.slots
            if not slot.closing and (slot.run is None or slot.number in done)
        ]

    async def _call(self, ended: list[tuple[Slot, Run, Outcome]], free: list[Slot]) -> Exchanged:
        reports = [ended_of(run, outcome, self._clock) for _, run, outcome in ended]
        names = [name for name in self.queues.names if name not in self._broken]
        if self.tell_polls:
            for slot in free:
                self._tell("poll", slot, self.queues.names)
        return await self._exchange.run(
            reports, [slot.worker_id for slot in free], names, self._run_at(), recover=self._recover
        )

    tell_polls = False  # set by the owner where somebody listens: it is a call for each slot

    def _run_at(self) -> str:
        """Now, and later than ever before: the time names the run."""
        self._last_us = max(self._clock.now_us(), self._last_us + 1)
        return iso_utc(self._last_us)

    def _after(
        self, ended: list[tuple[Slot, Run, Outcome]], free: list[Slot], exchanged: Exchanged
    ) -> None:
        for queue, words in exchanged.broken:
            self._broken.add(queue)
            self._tell(
                "error", None, StoreError(f"queue {queue!r} is no list: {words}"), queue, None
            )
        unwritten = dict(exchanged.unwritten)
        void = set(exchanged.void)
        for index, (slot, run, outcome) in enumerate(ended):
            if index in unwritten:
                self._report_again(slot, run, outcome, unwritten[index])
            else:
                slot.run = slot.task = None
                self._tell_end(slot, run, outcome, void=index in void)
        self._freed.set()
        for taken in exchanged.taken:
            self._begin(free[taken.index], taken)
        self._pause(exchanged)

    def _pause(self, exchanged: Exchanged) -> None:
        if exchanged.paused != self.paused:
            self.paused = exchanged.paused
        if exchanged.full and not self.paused:
            self.look()
        elif not exchanged.taken:
            self._tell("pause", None)

    def _report_again(self, slot: Slot, run: Run, outcome: Outcome, words: str) -> None:
        """Redis refused what belongs to the end, so the job is still on record: try again."""
        error = StoreError(f"the end of a job could not be written, trying again: {words}")
        self._tell("error", slot, error, run.queue, run.job)
        asyncio.get_running_loop().call_later(1.0, self._finish, slot, run, outcome)

    # -- one job --

    def _begin(self, slot: Slot, taken: Taken) -> None:
        self._taken += 1
        run = run_of(taken, slot.worker_id, self.store, self._definitions, self.options.max_payload)
        run.worker = self._worker
        run.sequence = self._taken
        run.started = self._clock.monotonic()
        slot.run = run
        if isinstance(run.error, PayloadError):
            self._finish(slot, run, failure(run.error))
            return
        self._tell("job", slot, run.queue, run.job)
        slot.task = asyncio.get_running_loop().create_task(self._work(slot, run))

    async def _work(self, slot: Slot, run: Run) -> None:
        once = run.definition is not None and run.definition.at_most_once
        if once and not await self._marked(slot, run):
            return
        self._finish(slot, run, await execute(run, self.threads))

    async def _marked(self, slot: Slot, run: Run) -> bool:
        """Note that an at-most-once job starts; if that can't be noted, it must not start."""
        run_at = run.beginning.decode("utf-8", "replace")
        try:
            ours = await worker_store.mark_at_most_once(
                self.store, str(slot.worker_id), run.beginning, run_at
            )
        except (ResqpyError, asyncio.CancelledError):
            ours = False
        if not ours:
            self._finish(slot, run, Outcome(Kind.RETURNED))
        return ours

    def _finish(self, slot: Slot, run: Run, outcome: Outcome) -> None:
        if slot.run is not run:
            return  # given up at a stop
        self._ended.append((slot, run, outcome))
        self._wake.set()

    def _tell_end(self, slot: Slot, run: Run, outcome: Outcome, *, void: bool) -> None:
        duration_ms = int((self._clock.monotonic() - run.started) * 1000)
        if void and not self._recover:
            error = StoreError("the job was taken from this worker while it ran; its end is void")
            self._tell("error", slot, error, run.queue, run.job)
        elif outcome.kind is Kind.SUCCESS:
            self._tell("success", slot, run.queue, run.job, outcome.result, duration_ms)
        elif outcome.kind is Kind.FAILURE:
            self._tell("failure", slot, run.queue, run.job, outcome.error, duration_ms)
        elif outcome.kind in (Kind.RETRIED, Kind.DELAYED):
            self._tell("re_enqueue", slot, run.queue, run.job, outcome.info)

    def cancel(self, worker_id: str) -> bool:
        """Cancel the job that a slot is running; False if it runs none. It fails as cancelled."""
        for slot in self.slots:
            if str(slot.worker_id) == worker_id and slot.task is not None and slot.run is not None:
                return slot.task.cancel()
        return False

    # -- stop --

    async def drain(self, timeout_s: float | None) -> bool:
        """Take nothing more and wait for what runs; False when time ran out."""
        self.quiet = True
        self._wake.set()
        try:
            async with asyncio.timeout(timeout_s):
                while self.busy:
                    self._freed.clear()
                    await self._freed.wait()
        except TimeoutError:
            return False
        return True

    async def interrupt(self) -> None:
        """Cancel what still runs, wait a little, and give up what does not end: its job goes back
        to the head of its queue, in the old order (or to failed, if it may run only once).
        """
        reported = {id(run) for _, run, _ in self._ended}
        running = [s for s in self.busy if s.task is not None and id(s.run) not in reported]
        for slot in running:
            if slot.run is not None and slot.task is not None and not slot.task.done():
                slot.run.interrupted = True
                slot.task.cancel()
        tasks = [slot.task for slot in running if slot.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=self.options.cancel_timeout_s)
        for slot in running:
            if slot.task is not None and not slot.task.done():
                self._give_up(slot)

    def _give_up(self, slot: Slot) -> None:
        run = slot.run
        assert run is not None
        run.error = run.error or ResqpyError("the worker stopped before the job ended")
        once = run.definition is not None and run.definition.at_most_once
        outcome = failure(run.error) if once else Outcome(Kind.RETURNED)
        self._finish(slot, run, outcome)

    async def last_exchange(self) -> None:
        """Report what has ended since, the latest taken first, so that returned jobs stand at the
        head of their queues as they did before.
        """
        self._ended.sort(key=lambda each: -each[1].sequence)
        while self._ended:
            ended, self._ended = self._ended, []
            try:
                exchanged = await self._call(ended, [])
            except StoreError:
                self._ended = ended
                raise
            self._after(ended, [], exchanged)
            if exchanged.unwritten:
                await asyncio.sleep(1.1)

    async def unregister(self) -> None:
        """Forget the slots and the process."""
        ids = [slot.worker_id for slot in self.slots if slot.run is None]
        self.slots = [slot for slot in self.slots if slot.run is not None]
        gone = None if self.slots else self.incarnation
        await worker_store.unregister(self.store, ids, gone)

    async def close(self) -> None:
        """Close what belongs to the pool."""
        self.threads.close()
        await self._exchange.close()

    @property
    def exchange_line(self) -> Any:
        """The connection of the exchange (its round trips are counted in tests)."""
        return self._exchange.line
