"""Ended jobs that Redis has not been told about, and the exchange that reports them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from resqpy.base.clock import Clock, iso_utc
from resqpy.base.error_text import repr_of
from resqpy.base.errors import OutcomeUnknown, ResqpyError, StoreError
from resqpy.engine.event_sink import EventSink, tell_end, tell_error
from resqpy.engine.outcome import OutcomeKind
from resqpy.engine.worker.running import EndedJob
from resqpy.engine.worker.slots import Slot
from resqpy.store.exchange import Exchange, Exchanged, Fence

FIRST_EPOCH = 1

_WRITE_AGAIN_S = 1.0  # before an end that Redis refused is reported again

_WAVE = 25  # slots; up to this many are always served in one round trip
_SMALL_PART, _PARTS = 8, 16
_WAITED_MS = 4
_SLOTS_A_MS = 25  # a no-op job lasts as long as it takes the others to start: 1 ms for this many


def part(count: int, lasted_ms: int, slots: int, *, much: bool = False) -> int:
    """How many of the ended jobs are reported in one exchange.

    Jobs that wait end in waves: those that started together end together, and if they are reported together
    they start together again, with each slot idle until the whole wave is done. Reported in small parts
    they spread out, and the slots are busy at different times. (Measured: 100 slots with jobs of 10 ms do
    8,800 a second instead of 7,600; 200 slots 16,800 instead of 12,300.) Very short jobs gain nothing from
    that: for them, one large exchange is cheapest. But if each end writes much, half of the slots are
    served at a time, so that we work while Redis does.
    """
    if much and lasted_ms < _WAITED_MS:
        return min(count, max(_SMALL_PART, slots // 2))
    if count <= _WAVE or lasted_ms < max(_WAITED_MS, slots // _SLOTS_A_MS):
        return count
    return min(count, max(_SMALL_PART, slots // _PARTS))


class Reporting:
    """The ended jobs of a pool, until their end is written.

    Args:
        wake: called when there is something to report.

    Attributes:
        ended: to be reported by the next exchange.
        doubt: an exchange was not answered, so it may have been executed or not. Until a recovery is
            answered, no other is sent, and no slot is removed.
        in_flight: number of unanswered exchanges.
        epoch: of the next exchange; each recovery increases it, which shuts out all earlier exchanges.
    """

    def __init__(
        self,
        clock: Clock,
        events: EventSink,
        wake: Callable[[], None],
        exchange: Exchange,
    ) -> None:
        self.ended: list[EndedJob] = []
        self.doubt: bool = False
        self.in_flight: int = 0
        self.epoch: int = FIRST_EPOCH
        self.exchange: Exchange = exchange
        self._refused: list[EndedJob] = []
        self._clock = clock
        self._events = events
        self._wake = wake
        self._last_us = 0
        self._met = False  # Redis has answered an exchange

    def add(self, end: EndedJob) -> None:
        """A job has ended."""
        self.ended.append(end)
        self._wake()

    def all_ended(self) -> list[EndedJob]:
        """Take the ended jobs; ownership passes to the caller."""
        ended, self.ended = self.ended, []
        return ended

    def next_ended(self, slots: int, *, more: bool) -> list[EndedJob]:
        """The ended jobs for the next exchange; all of them if no more jobs wait for the slots."""
        if not self.ended or not more:
            return self.all_ended()
        first = self.ended[0]
        much = not first.run.lifecycle.plain
        most = part(len(self.ended), first.duration_ms, slots, much=much)
        ended, self.ended = self.ended[:most], self.ended[most:]
        if self.ended:
            self._wake()
        return ended

    async def call(self, ends: list[EndedJob], free: list[Slot], names: Sequence[str]) -> Exchanged:
        """One exchange that claims jobs for the free slots."""
        return await self._call(ends, free, names, recover=False)

    async def recover(self, slots: Sequence[Slot]) -> tuple[list[EndedJob], list[Slot], Exchanged]:
        """The exchange after one that was not answered: it reports all ended jobs, checks every slot that
        may have been given a job, and claims nothing. Once answered and not fenced, it ends the doubt.
        """
        self.try_refused()
        ended = sorted(self.all_ended(), key=lambda end: -end.run.sequence)
        reported = {end.slot for end in ended}
        named = [slot for slot in slots if slot.run is None or slot in reported]
        self.epoch += 1
        exchanged = await self._call(ended, named, (), recover=True)
        self.doubt = exchanged.fence is not Fence.OPEN
        return ended, named, exchanged

    async def _call(
        self, ended: list[EndedJob], named: list[Slot], names: Sequence[str], *, recover: bool
    ) -> Exchanged:
        self.in_flight += 1
        for slot in named:
            slot.offered += 1
        try:
            if self._is_lost and not recover:
                raise OutcomeUnknown("the connection to Redis was lost before an exchange")
            exchanged = await self.exchange.run(
                [end.report for end in ended],
                [slot.place for slot in named],
                names,
                self._run_at(),
                recover=recover,
                epoch=self.epoch,
                asked_s=self._clock.monotonic(),
            )
        except BaseException as error:
            self._lost(ended, error)
            raise
        finally:
            self.in_flight -= 1
            for slot in named:
                slot.offered -= 1
        self._met = True
        if exchanged.fence is not Fence.OPEN:
            self.doubt = True
            self.epoch = max(self.epoch, exchanged.gate)
        return exchanged

    def _lost(self, ended: list[EndedJob], error: BaseException) -> None:
        """It may have been executed or not, and so may the others in flight: report everything again, and
        ask for what was claimed.
        """
        self.doubt = True
        self.exchange.reset()
        self.ended = ended + self.ended
        for end in ended:
            end.in_doubt |= isinstance(error, OutcomeUnknown) or not isinstance(error, StoreError)

    def _run_at(self) -> str:
        """Now, but later than every earlier call: the time identifies the run."""
        self._last_us = max(self._clock.now_us(), self._last_us + 1)
        return iso_utc(self._last_us)

    def settle(self, ended: list[EndedJob], exchanged: Exchanged) -> None:
        """Free the slots of those whose end is written, and emit events."""
        unwritten = dict(exchanged.unwritten)
        void = set(exchanged.void)
        quiet = not (void or self._events.has_listeners("success"))
        for index, end in enumerate(ended):
            if index in unwritten:
                self._refuse(end, unwritten[index])
            else:
                end.slot.run = end.slot.task = None
                _settled(self._events, end, written=index not in void or end.in_doubt)
                if not quiet or end.outcome.kind is not OutcomeKind.SUCCESS:
                    tell_end(self._events, end, void=index in void)

    def _refuse(self, end: EndedJob, words: str) -> None:
        """Redis refused commands of the end, so the job is still in its record: retry later."""
        error = StoreError(f"the end of a job could not be written, retrying: {words}")
        tell_error(self._events, error, end)
        if not self._refused:
            asyncio.get_running_loop().call_later(_WRITE_AGAIN_S, self.try_refused)
        self._refused.append(end)

    def doubt_if_lost(self) -> None:
        """A connection lost while nothing was in flight is also a doubt: Redis may now be a replica that
        restored old records; and a request that was repeated on the way may still arrive.
        """
        self.doubt = self.doubt or self._is_lost

    @property
    def _is_lost(self) -> bool:
        return self._met and not self.exchange.line.alive

    @property
    def done(self) -> bool:
        """Whether everything is reported and nothing is in doubt."""
        return not (self.ended or self._refused or self.in_flight or self.doubt)

    def try_refused(self) -> bool:
        """Report refused ends with the next exchange; returns whether there are any."""
        refused, self._refused = self._refused, []
        self.ended += refused
        if refused:
            self._wake()
        return bool(refused)


def _settled(events: EventSink, end: EndedJob, *, written: bool) -> None:
    """Notify the lifecycle of the job; its errors are emitted."""
    try:
        end.run.lifecycle.settled(end.run, written=written)
    except Exception as error:
        problem = ResqpyError(f"the job's lifecycle failed after its end: {repr_of(error)}")
        tell_error(events, problem, end)
