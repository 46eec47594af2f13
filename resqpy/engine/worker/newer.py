"""Jobs for newer code than this process has, during a rolling deploy: they are left to a process that has
it.

A job whose class is unknown here, or whose inputs this version of its task rejects, is delayed for a moment
while another live process announces the class (or the task with other inputs); but only for a few minutes
after this process first met such a job. Then it fails, and immediately if nobody announces anything. If no
scheduler leads, which would move a delayed job, it is put back to the tail of its queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from resqpy.base.clock import Clock
from resqpy.base.errors import InvalidInputs, StoreError, UnknownTask
from resqpy.engine.definition import Definitions
from resqpy.engine.lifecycle import Outcome, OutcomeKind
from resqpy.engine.run import Run
from resqpy.store import workers
from resqpy.store.connection.client import Store

PATIENCE_S = 300.0  # how long jobs of one class are left to others
_FORGET_S = 3600.0  # a class not met for this long counts as new
_PAUSE_S = 1.0  # before a job is put back, so that it does not circulate too fast
_ASK_S = 5.0  # how long an answer of Redis is cached

_DELAY_MS = 2000
DELAYED = Outcome(OutcomeKind.DELAYED, delay_ms=_DELAY_MS, info={"delay": _DELAY_MS, "newer": True})
LEFT_TO_OTHERS = Outcome(OutcomeKind.RETURNED, info="at the tail")
INPUTS_REFUSED = "resqpy.inputs_refused"  # in `run.state`: an error of the check before the run

Tell = Callable[[Exception, Run], None]


def names_of(definitions: Definitions) -> list[str]:
    """What a process announces: each task's name, and its name with the version of its inputs."""
    versions = [f"{name} {each.version}" for name, each in definitions.items() if each.version]
    return sorted([*definitions, *versions])


class Newer:
    """What other processes know and this one doesn't.

    Args:
        incarnation: this process.
        tell: called once for each class that is left to others.
    """

    def __init__(
        self, store: Store, definitions: Definitions, incarnation: str, clock: Clock, tell: Tell
    ) -> None:
        self._store = store
        self._own = frozenset(names_of(definitions))
        self._incarnation = incarnation
        self._clock = clock
        self._tell = tell
        self._met: dict[str, tuple[float, float]] = {}  # by class: first and last
        self._others: frozenset[str] = frozenset()
        self._led = False
        self._asked_at: float | None = None

    async def announce(self) -> None:
        """Announce what this process knows."""
        if self._own:
            await workers.note(self._store, self._incarnation, sorted(self._own))

    async def withdraw(self) -> None:
        """This process ends."""
        if self._own:
            await workers.forget(self._store, self._incarnation)

    def settle(self, run: Run, outcome: Outcome) -> Awaitable[Outcome] | None:
        """The final outcome of a run, if others are to be asked: its own, or it is left to them."""
        if not self._may_be_newer(run, outcome) or not self._has_time(run.class_name):
            return None
        return self._settled(run, outcome)

    async def _settled(self, run: Run, outcome: Outcome) -> Outcome:
        try:
            if not await self._others_know(run):
                return outcome
            first, last = self._met[run.class_name]
            if first == last:
                self._tell(_told(run), run)
            if self._led:
                return DELAYED
            await asyncio.sleep(_PAUSE_S)
        except asyncio.CancelledError:
            return outcome if run.cancelled else LEFT_TO_OTHERS
        except StoreError:
            return outcome
        return LEFT_TO_OTHERS

    def _may_be_newer(self, run: Run, outcome: Outcome) -> bool:
        if outcome.kind is not OutcomeKind.FAILURE or not run.lifecycle.plain:
            return False
        if isinstance(outcome.error, UnknownTask):
            return run.definition is None
        refused = run.state.get(INPUTS_REFUSED)
        return isinstance(refused, InvalidInputs) and outcome.error is refused

    def _has_time(self, class_name: str) -> bool:
        now = self._clock.monotonic()
        first, last = self._met.get(class_name, (now, now))
        if now - last > _FORGET_S:
            first = now
        self._met[class_name] = (first, now)
        return now - first <= PATIENCE_S

    async def _others_know(self, run: Run) -> bool:
        now = self._clock.monotonic()
        if self._asked_at is None or now - self._asked_at > _ASK_S:
            others, self._led = await workers.of_others(self._store, self._incarnation)
            self._others, self._asked_at = frozenset(others), now
        name = run.class_name
        if run.definition is None:
            return name in self._others
        return any(each.startswith(f"{name} ") for each in self._others - self._own)


def _told(run: Run) -> UnknownTask:
    what = "is unknown here" if run.definition is None else "takes other inputs here"
    return UnknownTask(
        f"task {run.class_name!r} {what}, and another live worker announces it: its jobs are left to that one "
        f"for up to {PATIENCE_S / 60:g} minutes, and then fail (a deploy in progress? if two projects share "
        "this Redis, give each its own redis.namespace or queues)"
    )
