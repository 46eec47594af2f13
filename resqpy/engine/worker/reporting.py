"""What Redis has still to hear: ended jobs, and the exchange by which it hears of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from resqpy.base.clock import Clock, iso_utc
from resqpy.base.error_text import repr_of
from resqpy.base.errors import OutcomeUnknown, ResqpyError, StoreError
from resqpy.engine.outcome import OutcomeKind
from resqpy.engine.telling import Events, tell_end, tell_error
from resqpy.engine.worker.running import End
from resqpy.engine.worker.slots import Slot
from resqpy.store.exchange import Exchange, Exchanged, Fence

FIRST_EPOCH = 1

_WRITE_AGAIN_S = 1.0  # after which an end that Redis refused is reported again

_WAVE = 25  # slots; up to so many are always served in one round trip
_SMALL_PART, _PARTS = 8, 16
_WAITED_MS = 4
_SLOTS_A_MS = 25  # a no-op job lasts as long as it takes the others to begin: 1 ms for so many


def part(count: int, lasted_ms: int, slots: int, *, much: bool = False) -> int:
    """How many of the jobs that have ended are reported in one exchange.

    Jobs that wait end in waves: those that began together end together, and if they are reported
    together they begin together again, each slot idle until the whole wave is through. Reported
    in small parts they spread, and the slots are busy at different times. (Measured: 100 slots
    with jobs of 10 ms do 8,800 a second instead of 7,600; 200 slots 16,800 instead of 12,300.)
    Jobs that hardly last gain nothing by that: for them, one large exchange is the cheapest. But
    where much is to be written of each, half of the slots are served at a time, so
    that we work while Redis does.
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
        doubt: an exchange was not answered, so it may have been done or not. Until a recovery was
            answered, no other is sent, and no slot goes.
        in_flight: how many exchanges are not answered yet.
        epoch: of the next exchange; each recovery has a higher one, which shuts out all before it.
    """

    def __init__(
        self,
        clock: Clock,
        events: Events,
        wake: Callable[[], None],
        exchange: Exchange,
    ) -> None:
        self.ended: list[End] = []
        self.doubt: bool = False
        self.in_flight: int = 0
        self.epoch: int = FIRST_EPOCH
        self.exchange: Exchange = exchange
        self._refused: list[End] = []
        self._clock = clock
        self._events = events
        self._wake = wake
        self._last_us = 0
        self._met = False  # Redis has answered an exchange

    def add(self, end: End) -> None:
        """A job has ended."""
        self.ended.append(end)
        self._wake()

    def all_ended(self) -> list[End]:
        """What is to be reported now; it is the caller's from here on."""
        ended, self.ended = self.ended, []
        return ended

    def next_ended(self, slots: int, *, more: bool) -> list[End]:
        """What the next exchange reports. It is all where no more jobs wait for the slots."""
        if not self.ended or not more:
            return self.all_ended()
        first = self.ended[0]
        much = not first.run.lifecycle.plain
        most = part(len(self.ended), first.duration_ms, slots, much=much)
        ended, self.ended = self.ended[:most], self.ended[most:]
        if self.ended:
            self._wake()
        return ended

    async def call(self, ended: list[End], named: list[Slot], names: Sequence[str]) -> Exchanged:
        """One exchange that takes jobs for the named slots."""
        return await self._call(ended, named, names, recover=False)

    async def recover(self, slots: Sequence[Slot]) -> tuple[list[End], list[Slot], Exchanged]:
        """The exchange after one that was not answered: it reports all that has ended, asks every slot
        that may have been given a job, and takes nothing. Answered and not fenced, it ends the doubt.
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
        self, ended: list[End], named: list[Slot], names: Sequence[str], *, recover: bool
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

    def _lost(self, ended: list[End], error: BaseException) -> None:
        """It may have been done or not, and so may the others that are in flight: report all again,
        and ask for what was taken.
        """
        self.doubt = True
        self.exchange.reset()
        self.ended = ended + self.ended
        for end in ended:
            end.in_doubt |= isinstance(error, OutcomeUnknown) or not isinstance(error, StoreError)

    def _run_at(self) -> str:
        """Now, and later than ever before: the time names the run."""
        self._last_us = max(self._clock.now_us(), self._last_us + 1)
        return iso_utc(self._last_us)

    def settle(self, ended: list[End], exchanged: Exchanged) -> None:
        """Free the slots of those whose end is written, and tell of it."""
        unwritten = dict(exchanged.unwritten)
        void = set(exchanged.void)
        quiet = not (void or self._events.heard("success"))
        for index, end in enumerate(ended):
            if index in unwritten:
                self._refuse(end, unwritten[index])
            else:
                end.slot.run = end.slot.task = None
                _settled(self._events, end, written=index not in void or end.in_doubt)
                if not quiet or end.outcome.kind is not OutcomeKind.SUCCESS:
                    tell_end(self._events, end, void=index in void)

    def _refuse(self, end: End, words: str) -> None:
        """Redis refused what belongs to the end, so the job is still on record: try again later."""
        error = StoreError(f"the end of a job could not be written, trying again: {words}")
        tell_error(self._events, error, end)
        if not self._refused:
            asyncio.get_running_loop().call_later(_WRITE_AGAIN_S, self.try_refused)
        self._refused.append(end)

    def doubt_if_lost(self) -> None:
        """A connection that was lost while nothing was in flight is a doubt, too: Redis may be another
        one now, a replica that brought records back; and a request that was repeated on the way may
        still arrive.
        """
        self.doubt = self.doubt or self._is_lost

    @property
    def _is_lost(self) -> bool:
        return self._met and not self.exchange.line.alive

    @property
    def done(self) -> bool:
        """Whether Redis has heard of all that has ended, and of nothing it is in doubt."""
        return not (self.ended or self._refused or self.in_flight or self.doubt)

    def try_refused(self) -> bool:
        """Report what was refused with the next exchange; whether there is any."""
        refused, self._refused = self._refused, []
        self.ended += refused
        if refused:
            self._wake()
        return bool(refused)


def _settled(events: Events, end: End, *, written: bool) -> None:
    """Tell the lifecycle of the job; what that raises is told as an error."""
    try:
        end.run.lifecycle.settled(end.run, written=written)
    except Exception as error:
        problem = ResqpyError(f"what follows the end of a job failed: {repr_of(error)}")
        tell_error(events, problem, end)
