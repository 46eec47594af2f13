"""What a leader does: chores, each in a loop of its own, so that none waits for another.

The contract of a chore:

- `scope` says what it needs: "own" runs while we lead among the resqpy schedulers, "shared" only
  while we hold Ruby's and Node's locks as well.
- `run(leadership)` does what is to be done now and returns the seconds until it wants to run again
  (None: the default, `timeout_s`). It runs at once when we become leader, when a key changes whose
  name begins with one of `prefixes`, whoever changed it, and when `Scheduler.wake(name)` is called.
- It writes by `leadership.run(script, …)` only: those scripts ask for the leader's token first and
  raise `Deposed` where another leads by now. `Deposed` may leave `run`; it is no error.
- It must be written so that it can be killed at any await and done again by a successor, which
  knows nothing of it but what stands in Redis.
- Time is `leadership.clock.now_ms()`: Redis' clock, the only one that all schedulers share.
- What else it raises is told by the event `error`; it is run again after a pause, the others go on.

A chore is not cancelled when we stop leading; what it writes then is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from resqpy.base.concurrency.own_tasks import raise_if_cancelled
from resqpy.base.concurrency.waiting import is_set_within
from resqpy.base.errors import Deposed
from resqpy.engine.scheduler.election import Leadership, Scope

_FIRST_RETRY_S = 0.25
_GAP_S = 0.005  # a thousand changes in a burst are one reason to look


class Chore(Protocol):
    """One kind of work of the leader; see the module for the contract."""

    @property
    def name(self) -> str:
        """What it is called in errors and by `Scheduler.wake`."""

    @property
    def scope(self) -> Scope:
        """Which leadership it needs."""

    @property
    def prefixes(self) -> Sequence[str]:
        """Beginnings of the keys whose change wakes it."""

    async def run(self, leadership: Leadership) -> float | None:
        """Do what is to be done now; seconds until the next time, None for the default."""


class ChoreLoop:
    """Runs one chore whenever it wants to run and may.

    Args:
        leadership: asked before each run.
        on_error: told what it raised.
        default_s: seconds to the next run where it names none.
    """

    def __init__(
        self,
        chore: Chore,
        leadership: Callable[[Scope], Leadership | None],
        on_error: Callable[[BaseException], None],
        default_s: float,
    ) -> None:
        self.chore = chore
        self._leadership = leadership
        self._on_error = on_error
        self._default_s = default_s
        self._woken = asyncio.Event()
        self._errors = 0
        self._token: str | None = None
        self._prefixes = tuple(prefix.encode() for prefix in chore.prefixes)

    def wake(self) -> None:
        """Run soon."""
        self._woken.set()

    def stand(self) -> None:
        """Run soon if we lead now and did not, or not in this epoch, when it last ran."""
        leadership = self._leadership(self.chore.scope)
        if leadership is not None and leadership.token != self._token:
            self._woken.set()

    def changed(self, keys: Sequence[bytes] | None) -> None:
        """Run soon if one of these keys matters; None: anything may have changed."""
        if keys is None or any(key.startswith(self._prefixes) for key in keys):
            self._woken.set()

    async def run(self) -> None:
        """For ever; cancel to end."""
        while True:
            self._woken.clear()
            leadership = self._leadership(self.chore.scope)
            self._token = None if leadership is None else leadership.token
            wait_s = None if leadership is None else await self._once(leadership)
            await self._pause(self._default_s if wait_s is None else wait_s)

    async def _once(self, leadership: Leadership) -> float | None:
        try:
            wait_s = await self.chore.run(leadership)
        except Deposed:
            self._token = None  # the next round of the election tells who leads
            return None
        except BaseException as error:
            raise_if_cancelled(error)
            self._on_error(error)
            self._errors += 1
            return min(_FIRST_RETRY_S * 2.0**self._errors, self._default_s)
        self._errors = 0
        return wait_s

    async def _pause(self, seconds: float) -> None:
        if await is_set_within(self._woken, max(seconds, 0)):
            await asyncio.sleep(_GAP_S)
