"""The election of a leader among all schedulers, in two scopes.

resqpy schedulers elect by a lease; only its holder does resqpy's own work (scope "own"). Work that Ruby's
and Node's schedulers also do (scope "shared") it does only while it also holds both of their locks. While a
Ruby or Node scheduler holds one, only the shared part waits.

The lease is renewed by the event loop that does the leader's work, on its own connection, and not by a
thread: a lease says that the work gets done. A busy loop renews a few milliseconds late. A loop blocked for
less than three quarters of the lease loses nothing. A loop blocked for longer can't promote anything, so
another scheduler should lead (the foreign locks keep our token meanwhile, and the successor takes them
over). When the blocked leader wakes up its writes are fenced: every script checks its token first.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from resqpy.base.clock import SYSTEM_CLOCK, Clock
from resqpy.base.concurrency.own_tasks import own_task
from resqpy.base.errors import ResqpyError
from resqpy.engine.options import LeaderOptions
from resqpy.store import leader
from resqpy.store.connection.client import Arg, RedisClock, Store
from resqpy.store.leader import Ballot

Scope = Literal["own", "shared"]

_AGAIN_S = 1.0  # after an error
_AFTER_LEASE_S = 0.02  # Redis expires keys within a few milliseconds


@dataclass(frozen=True, slots=True)
class Leadership:
    """The right to write as the leader, while the fence holds.

    Attributes:
        token: `<name>/<epoch>`, the value of all keys of the fence.
        fence: the keys that must hold it: the lease; in the shared scope the foreign locks too.
        clock: Redis' clock.
    """

    store: Store
    token: str
    fence: tuple[str, ...]
    clock: RedisClock

    @property
    def epoch(self) -> int:
        """Incremented at each change of leader."""
        return int(self.token.rpartition("/")[2])

    async def run(self, script: str, keys: Sequence[Arg], args: Sequence[Arg] = ()) -> Any:
        """Run a fenced write script.

        Its first keys are the fence (1 key in the own scope, 3 in the shared one), its first argument is
        the token, and it must begin with this:

            for k = 1, 3 do -- or 1, 1
              if redis.call('GET', KEYS[k]) ~= ARGV[1] then
                return redis.error_reply('DEPOSED another scheduler leads')
              end
            end

        Raises:
            Deposed: another scheduler leads; nothing was written.
        """
        return await leader.run_fenced(self.store, self.fence, self.token, script, keys, args)


class Election:
    """Stands for election until stopped.

    Args:
        name: our name; no other scheduler may have it.
        on_change: called when the result of `leadership` may have changed.
        on_error: called when Redis could not be queried.

    Attributes:
        foreign_leader: the value of a lock that a Ruby or Node scheduler holds.
        clock: Redis' clock, updated in each round.
    """

    def __init__(
        self,
        store: Store,
        options: LeaderOptions,
        name: str,
        on_change: Callable[[], None],
        on_error: Callable[[ResqpyError], None],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._store = store
        self._options = options
        self._name = name
        self._on_change = on_change
        self._on_error = on_error
        self._clock = clock
        self._line = store.new_line(reply_timeout_s=options.lease_s / 2)
        locks = leader.foreign_locks(store.keys, options.ruby_lock_prefix)
        self._locks = () if options.ruby_leads else locks
        self._ballot: Ballot | None = None
        self._asking: asyncio.Task[Ballot] | None = None
        self._valid_until = 0.0
        self.foreign_leader: str | None = None
        self.clock: RedisClock = RedisClock(clock)

    def leadership(self, scope: Scope = "own") -> Leadership | None:
        """The leadership in one scope, while it is certainly ours; None: another scheduler leads."""
        ballot = self._ballot
        if ballot is None or not ballot.leading or self._clock.monotonic() >= self._valid_until:
            return None
        lease = self._store.keys.leader
        if scope == "own":
            return Leadership(self._store, ballot.token, (lease,), self.clock)
        if not ballot.shared or not self._locks:
            return None
        return Leadership(self._store, ballot.token, (lease, *self._locks), self.clock)

    async def run(self) -> None:
        """Stand for election until cancelled."""
        pause_s = 0.0
        while True:
            await asyncio.sleep(pause_s)
            pause_s = await self._round()

    async def _round(self) -> float:
        """Campaign once; returns the seconds until the next time."""
        try:
            self._asking = own_task(self.ask(), "election")
            ballot = await asyncio.shield(self._asking)
        except ResqpyError as error:
            self._on_error(error)
            self._on_change()
            return min(_AGAIN_S, self._options.lease_s / 8)
        interval_s = self._options.lease_s / 4
        if ballot.leading:
            return interval_s
        return min(interval_s, max(ballot.lease_ms, 0) / 1000 + _AFTER_LEASE_S)

    async def ask(self) -> Ballot:
        """Take or renew the lease if possible."""
        options, asked = self._options, self._clock.monotonic()
        ballot = await leader.campaign(
            self._store,
            self._name,
            int(options.lease_s * 1000),
            options.foreign_lock_ttl_s,
            self._locks,
            self._line,
        )
        self._ballot, self._valid_until = ballot, asked + options.lease_s
        self.foreign_leader = ballot.foreign
        self.clock.note(ballot.time_us)
        self._on_change()
        return ballot

    async def resign(self) -> None:
        """Give up what is still ours, so that others need not wait."""
        if self._asking is not None:  # it may be obtaining the lease just now
            await asyncio.wait([self._asking])
            self._asking.exception()  # already reported, or no longer of interest
        ballot, self._ballot = self._ballot, None
        try:
            if ballot is not None and ballot.leading:
                await leader.resign(self._store, ballot.token, self._locks, self._line)
        except ResqpyError as error:
            self._on_error(error)
        finally:
            await self._line.close()


@asynccontextmanager
async def led_briefly(
    store: Store, options: LeaderOptions, name: str, lease_s: float
) -> AsyncIterator[Election]:
    """Stand for election once, for this block; whether we lead says `leadership`.

    Args:
        lease_s: longer than the block takes, unless it asks again.

    Raises:
        ResqpyError: what went wrong when the leadership was given up.
    """
    errors: list[ResqpyError] = []
    election = Election(store, replace(options, lease_s=lease_s), name, lambda: None, errors.append)
    try:
        await election.ask()
        yield election
    finally:
        await election.resign()
    if errors:
        raise errors[0]
