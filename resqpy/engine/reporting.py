"""What Redis has still to hear: ended jobs, and the exchange by which it hears of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from resqpy.base.clock import Clock, iso_utc
from resqpy.base.error_text import repr_of
from resqpy.base.errors import OutcomeUnknown, ResqpyError, StoreError
from resqpy.engine.options import WorkerOptions
from resqpy.engine.outcome import Kind
from resqpy.engine.running import End
from resqpy.engine.slots import Slot
from resqpy.engine.telling import Events, tell_end, tell_error
from resqpy.store.client import Store
from resqpy.store.exchange import Exchange, Exchanged

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
    where much is to be written of each (tracked tasks), half of the slots are served at a time, so
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
        claims: tracked tasks are taken together with their jobs.

    Attributes:
        ended: to be reported by the next exchange.
        recover: the last exchange was not answered: it may have been done or not.
    """

    def __init__(
        self,
        store: Store,
        options: WorkerOptions,
        clock: Clock,
        events: Events,
        wake: Callable[[], None],
        *,
        claims: bool = False,
    ) -> None:
        self.ended: list[End] = []
        self.recover: bool = False
        self.exchange: Exchange = Exchange(store, options.max_payload)
        self._refused: list[End] = []
        self._claims = claims
        self._clock = clock
        self._events = events
        self._wake = wake
        self._last_us = 0

    def add(self, end: End) -> None:
        """A job has ended."""
        self.ended.append(end)
        self._wake()

    def all_ended(self) -> list[End]:
        """What is to be reported now; it is the caller's from here on."""
        ended, self.ended = self.ended, []
        return ended

    def next_ended(self, slots: int, *, more: bool) -> list[End]:
        """What the next exchange reports. It is all where no more jobs wait for the slots, and
        after a lost reply, because then each slot must be asked what it was given.
        """
        if not self.ended or not more or self.recover:
            return self.all_ended()
        first = self.ended[0]
        much = first.run.ender is not None
        most = part(len(self.ended), first.duration_ms, slots, much=much)
        ended, self.ended = self.ended[:most], self.ended[most:]
        if self.ended:
            self._wake()
        return ended

    async def call(self, ended: list[End], free: list[Slot], names: Sequence[str]) -> Exchanged:
        """One exchange."""
        try:
            exchanged = await self.exchange.run(
                [end.report for end in ended],
                [slot.place for slot in free],
                names,
                self._run_at(),
                recover=self.recover,
                claim_since_s=self._clock.monotonic() if self._claims else None,
            )
        except BaseException as error:
            self._lost(ended, error)
            raise
        self.recover = False
        return exchanged

    def _lost(self, ended: list[End], error: BaseException) -> None:
        """It may have been done or not: report it all again, and ask for what was taken."""
        self.recover = True
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
                call_after(self._events, end, written=index not in void or end.in_doubt)
                if not quiet or end.outcome.kind is not Kind.SUCCESS:
                    tell_end(self._events, end, void=index in void)

    def _refuse(self, end: End, words: str) -> None:
        """Redis refused what belongs to the end, so the job is still on record: try again later."""
        error = StoreError(f"the end of a job could not be written, trying again: {words}")
        tell_error(self._events, error, end)
        if not self._refused:
            asyncio.get_running_loop().call_later(_WRITE_AGAIN_S, self.try_refused)
        self._refused.append(end)

    def try_refused(self) -> bool:
        """Report what was refused with the next exchange; whether there is any."""
        refused, self._refused = self._refused, []
        self.ended += refused
        if refused:
            self._wake()
        return bool(refused)


def call_after(events: Events, end: End, *, written: bool) -> None:
    """Tell who waits for the end; what that raises is told as an error."""
    if end.run.after is None:
        return
    try:
        end.run.after(written)
    except Exception as error:
        problem = ResqpyError(f"what follows the end of a job failed: {repr_of(error)}")
        tell_error(events, problem, end)
