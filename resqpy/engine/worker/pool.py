"""The slots of one process and the single dispatcher that serves them all.

    dispatch:  ended jobs ─┐                      ┌─ a job for each free slot
                           └►  store.exchange  ───┘
    each job:  execute(run) → Outcome → "ended" list → wakes dispatch

While an exchange is in flight further ends collect for the next: batching without a timer or a setting.
Two can be in flight, each for half of the slots, so that Redis works while we do. Never more jobs are claimed
than slots are free. Only the dispatcher reports and claims. What it does if an exchange is not answered, and
why nothing is lost by that: docs/why/exchange.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from resqpy.base.clock import SYSTEM_CLOCK, Clock
from resqpy.base.concurrency.own_tasks import is_set_within, own_task
from resqpy.base.errors import OutcomeUnknown, StoreError
from resqpy.engine.definition import Definition, Definitions
from resqpy.engine.options import WorkerOptions
from resqpy.engine.role import EventSink, tell_error
from resqpy.engine.worker.queues import MANY, HotQueues, QueueNames
from resqpy.engine.worker.reporting import Reporting, Wave
from resqpy.engine.worker.running import CrashSuspects, Runner
from resqpy.engine.worker.shadows import Shadows
from resqpy.engine.worker.slots import Slot, Slots
from resqpy.store import limits, queues as queue_store
from resqpy.store.connection.client import Store
from resqpy.store.exchange import ClaimedJob, Exchange, Exchanged, Fence, Request

_FORGOTTEN = (
    "Redis no longer knows this process: it was presumed dead while it could not reach Redis, or Redis lost "
    "its data. It registers again; jobs that were running meanwhile may run twice"
)

_SPOILED = (
    "is malformed or was written by another program: it is left alone, and its task processor is no longer "
    "used; find out who wrote it"
)

_FEW = 4  # idle slots that are named first: each has a cost, and a wake-up is mostly for one job
_SAY_LIMITS_S = 30.0
_FIRST_PAUSE_S, _MAX_PAUSE_S = 0.05, 1.0  # after a Redis error


class Flight(NamedTuple):
    """An exchange in flight.

    Attributes:
        names: the queues that it names.
        told: `HotQueues.told` when it was sent.
    """

    wave: Wave
    names: Sequence[str]
    told: int
    request: Request


class Pool:
    """Slots and their dispatcher.

    Args:
        events: receives events.
        worker: the object that tasks and plugins see as their worker.

    Attributes:
        quiet: take no jobs while it is set.
        for_good: it will not be unset.
        stopping: take no more jobs, permanently.
        paused: all workers are paused, by a key in Redis.
        on_recovered: called when Redis can be reached again.
        most_in_flight: maximum number of concurrent exchanges.
        has_limits: tasks of this process have limits, or have had them by what another has said.
    """

    most_in_flight: int = 2
    has_limits: bool = False

    def __init__(
        self,
        store: Store,
        definitions: Definitions,
        queues: QueueNames,
        options: WorkerOptions,
        events: EventSink,
        *,
        worker: Any = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.store = store
        self.queues = queues
        self.hot: HotQueues = HotQueues()
        self.slots: Slots = Slots(store, queues.text, options.host, clock)
        self._wake = asyncio.Event()
        along = definitions.takes_along(store.keys)
        incarnation = self.slots.incarnation
        exchange = Exchange(store, options.max_payload, incarnation, self.most_in_flight, along)
        self.reporting: Reporting = Reporting(clock, events, self._wake.set, exchange)
        parts = (store, definitions, options, clock)
        self.runner: Runner = Runner(*parts, self.reporting.add, worker=worker, events=events)
        self.shadows: Shadows = Shadows(*parts, queues.text, worker=worker, events=events)
        self.suspects: CrashSuspects = CrashSuspects(self.runner.begin)
        self.quiet = self.stopping = self.paused = self.for_good = False
        self.on_recovered: Callable[[], None] = lambda: None
        self._clock = clock
        self._limited: Mapping[str, Definition] = definitions
        self._options = options
        self._events = events
        self._changed, self._halting = asyncio.Event(), asyncio.Event()
        self._serving = self._forgotten = False
        self._look = True  # whether there may be work
        self._more = False  # whether the last reply said so
        self._names_stale = True
        self._told_broken: set[str] = set()
        self._told_spoiled = self._missing = 0  # missing: slots to be opened in place of others
        self._flights: set[asyncio.Future[Any]] = set()
        self._error: Exception | None = None
        self._timer: asyncio.TimerHandle | None = None  # when jobs that wait for a rate may run

    # -- called by others --

    async def open_slots(self, count: int) -> None:
        """Add slots."""
        epoch = None if self.slots.all else self.reporting.epoch
        if epoch is not None:
            await self.announce_limits()
        for slot in await self.slots.open(count, epoch):
            self._events.tell("start", slot)
        self.runner.threads.most = self._options.max_threads or len(self.slots.all)
        self.look()

    async def announce_limits(self) -> None:
        """Say what limits the tasks of this process have, so that all obey them."""
        tasks = {name: each.limit for name, each in self._limited.items()}
        if tasks or self._options.running_limits:
            changed = await limits.announce(self.store, tasks, self._options.running_limits)
            self.has_limits = self.has_limits or changed or any(tasks.values())

    async def keep_limits(self) -> None:
        """Repeat what limits the tasks have: a process of other code, that starts during a deploy, says otherwise,
        and is gone later.
        """
        while True:
            await asyncio.sleep(_SAY_LIMITS_S)
            try:
                await self.announce_limits()
            except StoreError as error:
                tell_error(self._events, error)

    def close_slots(self, count: int) -> None:
        """Remove slots, idle ones first; a busy one is removed when its job has ended."""
        self.slots.close(count)
        self.look()

    def look(self) -> None:
        """There may be work: look for it."""
        self._look = True
        self._wake.set()

    def names_changed(self) -> None:
        """The set of queue names has changed, or may have."""
        self._names_stale = True
        self.look()

    def queues_changed(self, names: Iterable[str] | None) -> None:
        """There may be work in these queues; None: in any, including new ones."""
        if names is None:
            self.hot.tell_all()
            self.names_changed()
        elif self.hot.tell(names):
            self.look()

    def cancel(self, worker_id: str, run_at: str | None = None) -> bool:
        """Cancel the job that a slot is running; False if it runs none, or a different run than `run_at`.
        It fails as `JobCancelled`.
        """
        for slot in self.slots.all:
            if str(slot.worker_id) == worker_id and slot.run is not None:
                right = run_at is None or run_at.encode() in slot.run.beginning
                return right and self.runner.cancel(slot)
        return False

    async def idle(self) -> None:
        """Return when no job is running or being claimed."""
        while self._serving or self._flights or self.slots.busy or self.reporting.doubt:
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
                if await self._serve() and pause_s:
                    pause_s = 0.0
                    self.on_recovered()
            except StoreError as error:
                pause_s = min(max(pause_s * 2, _FIRST_PAUSE_S), _MAX_PAUSE_S)
                tell_error(self._events, error)
                await is_set_within(self._halting, pause_s)
                self._wake.set()
            finally:
                self._serving = False
                self._changed.set()

    async def halt(self, within_s: float) -> None:
        """Let the dispatcher end after the exchanges in flight; if that takes too long, its owner may
        cancel it.
        """
        self._halting.set()
        self._wake.set()
        try:
            async with asyncio.timeout(within_s):
                while self._serving or self._flights:
                    self._changed.clear()
                    await self._changed.wait()
        finally:
            for flight in tuple(self._flights):
                flight.cancel()
            if self._flights:
                await asyncio.wait(self._flights, timeout=within_s)

    async def _serve(self) -> bool:
        """One step, with at most one exchange; returns whether Redis answered."""
        self._serving = True
        reporting, error = self.reporting, self._error
        if error is not None:
            self._error = None
            raise error
        reporting.doubt_if_lost()
        if reporting.doubt:
            if reporting.in_flight == 0:
                await self._recover()
            return reporting.in_flight == 0
        if reporting.in_flight >= self.most_in_flight:
            return False
        await self._replace()
        taking = not (self.quiet or self.stopping or self.suspects.active)
        if not taking and reporting.in_flight:
            return False  # the reply may bring more jobs that are returned
        looking = taking and self._look
        if reporting.in_flight:
            due = reporting.worth_another(len(self.slots.all)) or (
                looking and bool(self.slots.idle(1))
            )
        else:
            due = bool(reporting.ended) or looking
        if due:
            await self._send(taking=taking, looking=looking)
        return reporting.in_flight == 0

    async def _replace(self) -> None:
        """Remove closing slots, and open missing ones."""
        for slot in await self.slots.retire():
            self._events.tell("end", slot)
        self.tell_spoiled()
        if self._missing:
            missing, self._missing = self._missing, 0
            await self.open_slots(missing)

    async def _send(self, *, taking: bool, looking: bool) -> None:
        while looking and self._names_stale:  # again, if they changed meanwhile
            await self._resolve()
        ended = self.reporting.next_ended(
            len(self.slots.all), more=looking or (taking and self._more), taking=taking
        )
        if not taking:  # returned jobs keep their order at the head of their queues
            ended.sort(key=lambda end: -end.run.sequence)
        # if there may be more work, idle slots are named too: first a few, then all
        idle = self.slots.idle(len(self.slots.all) if self._more else _FEW) if looking else []
        if not (ended or idle):
            return
        wave = Wave(ended, idle, taking=taking)
        self.hot.follow(self.queues.names)
        names = self.hot.next() if taking else []
        names = self.queues.shares.order(names, len(wave.slots))
        if self._events.has_listeners("poll"):
            self._tell_poll(wave.slots, names)
        self._look = False
        try:
            request = self.reporting.send(wave, names)
        except BaseException:
            self._look = True
            raise
        flight = Flight(wave, names, self.hot.told, request)
        self._flights.add(request.replies)
        request.replies.add_done_callback(partial(self._replied, flight))

    def _replied(self, flight: Flight, replies: asyncio.Future[Any]) -> None:
        """A reply arrived, or the exchange failed. It is nearly always handled here, without a task."""
        self._flights.discard(replies)
        try:
            exchanged = self.reporting.arrived(flight.wave, flight.request)
            if exchanged is not None:
                self._land(flight, exchanged)
        except asyncio.CancelledError:
            self._failed(OutcomeUnknown("an exchange was cancelled"))
        except Exception as error:
            self._failed(error)
        else:
            if exchanged is None:
                answering = own_task(self._answer(flight), "exchange")
                self._flights.add(answering)
                answering.add_done_callback(self._landed)
        self._wake.set()
        self._changed.set()

    def _landed(self, answering: asyncio.Task[None]) -> None:
        self._flights.discard(answering)  # before those are woken who wait until there is none
        self._wake.set()
        self._changed.set()

    async def _answer(self, flight: Flight) -> None:
        try:
            self._land(flight, await self.reporting.answer(flight.wave, flight.request))
        except asyncio.CancelledError:
            self._failed(OutcomeUnknown("an exchange was cancelled"))
        except Exception as error:
            self._failed(error)

    def _land(self, flight: Flight, exchanged: Exchanged) -> None:
        names, queues = flight.names, (job.claim.queue for job in exchanged.taken)
        self.queues.shares.settle(names, len(flight.wave.slots), queues, exchanged.looked)
        emptied = self.hot.emptied(names[: exchanged.looked], flight.told)
        self._more = emptied or exchanged.full
        if exchanged.wake_ms is not None:
            self._look_in(exchanged.wake_ms / 1000)
        self._after(flight.wave, exchanged, more=self._more)

    def _look_in(self, seconds: float) -> None:
        """Look when jobs that wait for a rate may run; no other process does."""
        loop = asyncio.get_running_loop()
        at_s = loop.time() + seconds
        if self._timer is None or self._timer.cancelled() or at_s < self._timer.when():
            self._cancel_timer()
            self._timer = loop.call_at(at_s, self._time_has_come)

    def _time_has_come(self) -> None:
        self._timer = None
        self.hot.tell_all()
        self.look()
        if self.quiet or self.stopping or not self.slots.idle(1):
            self._leave_to_others()

    def _leave_to_others(self) -> None:
        """Another process has slots for what may run now, perhaps."""
        telling = own_task(self._tell_others(), "telling others to look")
        self._flights.add(telling)
        telling.add_done_callback(self._landed)

    async def _tell_others(self) -> None:
        try:
            await limits.tell_to_look(self.store)
        except StoreError as error:
            tell_error(self._events, error)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _failed(self, error: Exception) -> None:
        """An exchange was not answered, or its reply can't be handled: the dispatcher raises the error."""
        self._look = True
        self._error = self._error or error

    async def _recover(self) -> None:
        """Find out what became of the exchanges that were not answered."""
        if self._forgotten:
            await self.announce_limits()
            await self.slots.rejoin(self.reporting.epoch)
            self._forgotten = False
        self._after(*await self.reporting.recover(self.slots.all))
        self.look()  # it claimed nothing

    async def report_all(self) -> bool:
        """For a stop, without a dispatcher: report all ended jobs, the latest claimed first, so that
        returned jobs are at the head of their queues in the original order, and return jobs whose claim
        got no reply; returns whether nothing is left to report.
        """
        reporting = self.reporting
        while reporting.doubt or reporting.ended:
            if reporting.doubt:
                await self._recover()
            ended = sorted(reporting.all_ended(), key=lambda end: -end.run.sequence)
            if ended:
                wave = Wave(ended)
                self._after(wave, await reporting.call(wave, []))
        return reporting.done

    async def _resolve(self) -> None:
        self._names_stale = False
        try:
            known = await queue_store.names(self.store)
        except BaseException:
            self._names_stale = True
            raise
        for name in self.queues.resolve(known):
            self._tell_broken(name, "its name is not UTF-8, so it can't be part of a worker's id")

    def _tell_poll(self, free: list[Slot], names: Sequence[str]) -> None:
        for slot in free:
            for name in names:
                self._events.tell("poll", slot, name)

    # -- after an exchange --

    def _after(self, wave: Wave, exchanged: Exchanged, *, more: bool = False) -> None:
        ended, slots = wave.ended, wave.slots
        for queue, words in exchanged.broken:
            self._tell_broken(queue, f"{words}; find out who writes to it, or check the ACL user")
        for index in exchanged.unusable:
            self._give_up(slots[index])
        self.reporting.settle(ended, exchanged)
        if any(end.slot.closing for end in ended):
            self._wake.set()  # so that they are removed even if no work comes
        if ended or exchanged.taken:
            self.hot.left_out = len(self.queues.names) > MANY
        self._begin(slots, exchanged.taken)
        if exchanged.copies:
            self.shadows.take(exchanged.copies)
        # an exchange in flight may bring a job that would run beside a suspect
        if self.reporting.in_flight == 0 and self.suspects.settle(self.slots.busy):
            self.look()
        self.paused = exchanged.paused
        if exchanged.fence is not Fence.OPEN:
            self._fenced(exchanged.fence)
        if more and not self.paused:
            self.look()
        elif exchanged.nothing and self._events.has_listeners("pause"):
            self._rest(slots)

    def _rest(self, slots: list[Slot]) -> None:
        """Emit that there is nothing to do; if nothing is running, all queues must have been looked at: the
        last job's pushes may not have been reported yet.
        """
        if self.hot.left_out and not self.slots.busy:
            self.queues_changed(None)
            return
        for slot in slots:
            self._events.tell("pause", slot)

    def _begin(self, slots: list[Slot], jobs: list[ClaimedJob]) -> None:
        has_listeners = self._events.has_listeners("job")
        unwanted: list[Slot] = []
        now_s = self._clock.monotonic()
        for index, raw, claim in jobs:
            slot = slots[index]
            run = self.runner.take(slot, raw, claim, now_s)
            if has_listeners:
                self._events.tell("job", slot, run.queue, run.job)
            if self.quiet or self.stopping:  # since that exchange was sent, or since that event
                unwanted.append(slot)
            elif not (claim.rescues and self.suspects.hold(slot, run)):
                self.runner.begin(slot, run)
        for slot in reversed(unwanted):  # the latest first, so that the queue is as before
            if slot.run is not None:
                self.runner.return_untouched(slot, slot.run)

    def _tell_broken(self, queue: str, words: str) -> None:
        if queue not in self._told_broken:
            self._told_broken.add(queue)
            error = StoreError(f"queue {queue!r} can't be worked: {words}")
            self._events.tell("error", None, error, queue, None)

    def _fenced(self, fence: Fence) -> None:
        """Nothing could be claimed: the recovery that follows fixes that."""
        if fence is Fence.ABSENT and not self._forgotten:
            tell_error(self._events, StoreError(_FORGOTTEN))
        self._forgotten = self._forgotten or fence is not Fence.AHEAD
        self._wake.set()

    def _give_up(self, slot: Slot) -> None:
        """The slot's record is not a job of ours: the slot is replaced."""
        if not slot.closing:
            slot.closing = True
            self._missing += 1
            self.look()

    def tell_spoiled(self) -> None:
        """Report records of removed slots that are not their own."""
        for worker_id in self.slots.spoiled[self._told_spoiled :]:
            self._told_spoiled += 1
            tell_error(self._events, StoreError(f"the record of worker {worker_id} {_SPOILED}"))

    async def close(self) -> None:
        """Close what belongs to the pool."""
        self._cancel_timer()
        await self.shadows.close()
        self.runner.threads.close()
        await self.reporting.exchange.close()
