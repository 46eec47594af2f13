"""Chores, the work of a leader: each has its own loop, so that none waits for another.

The contract of a chore:

- `scope` says what it needs: "own" runs while we lead among the resqpy schedulers, "shared" only while we
  also hold Ruby's and Node's locks.
- `run(leadership)` does what is to be done now and returns the seconds until it wants to run again (None:
  the default, `timeout_s`). It runs immediately when we become leader, when a key with one of `prefixes`
  changes, whoever changed it, and when `Scheduler.wake(name)` is called.
- It writes only by `leadership.run(script, …)`: those scripts check the leader's token first and raise
  `Deposed` if another scheduler leads. `Deposed` may leave `run`; it is not an error.
- It may be killed at any await; a successor, which knows only what is in Redis, must be able to repeat its
  work.
- Time is `leadership.clock.now_ms()`: Redis' clock, the only one that all schedulers share.
- Other errors are emitted as the event `error`; it runs again after a pause, and the others continue.

A chore is not cancelled when we lose the leadership; its later writes are refused.
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
_GAP_S = 0.005  # a burst of a thousand changes needs only one look


class Chore(Protocol):
    """One kind of work of the leader; see the module for the contract."""

    @property
    def name(self) -> str:
        """Its name in errors and for `Scheduler.wake`."""

    @property
    def scope(self) -> Scope:
        """Which leadership it needs."""

    @property
    def prefixes(self) -> Sequence[str]:
        """Prefixes of the keys whose changes wake it."""

    async def run(self, leadership: Leadership) -> float | None:
        """Do what is to be done now; returns the seconds until the next time, None for the default."""


class ChoreLoop:
    """Runs one chore whenever it wants to run and is allowed to.

    Args:
        leadership: called before each run.
        on_error: called with errors.
        default_s: seconds to the next run if the chore returns None.
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
        """Run soon if we lead now and did not, or not in this epoch, at the last run."""
        leadership = self._leadership(self.chore.scope)
        if leadership is not None and leadership.token != self._token:
            self._woken.set()

    def changed(self, keys: Sequence[bytes] | None) -> None:
        """Run soon if one of these keys matters; None: anything may have changed."""
        if keys is None or any(key.startswith(self._prefixes) for key in keys):
            self._woken.set()

    async def run(self) -> None:
        """Run until cancelled."""
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
            self._token = None  # the next round of the election finds out who leads
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
