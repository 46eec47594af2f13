"""Chores run by hand against the real Redis: as a leader by a clock that the test moves, or as a scheduler's."""

from __future__ import annotations

from typing import Any, Self

from resqpy.base.clock import FixedClock
from resqpy.engine.scheduler.election import Leadership
from resqpy.engine.scheduler.scheduler import Chore
from resqpy.framework.api.scheduler import Scheduler
from resqpy.store import leader
from resqpy.store.connection.client import RedisClock, Store
from resqpy.store.connection.options import RedisOptions
from tests.support.waiting import wait_for


class StandingClock(RedisClock):
    """Redis' clock as the test wants it: what Redis says of the time is not heard."""

    def note(self, time_us: int) -> None:
        return


class Leading:
    """Leads in both scopes, while the keys of the fence have our token.

    Attributes:
        clock: moves when it is told to.
        runs: how often a chore ran.
    """

    def __init__(self, url: str, now_ms: int, token: str = "test/1") -> None:
        self.store = Store(RedisOptions(url=url))
        self.clock = FixedClock(now_ms)
        self.token = token
        self.runs = 0

    def leadership(self, *, shared: bool = False) -> Leadership:
        """The right to write."""
        keys = self.store.keys
        fence = (keys.leader, *(leader.foreign_locks(keys) if shared else ()))
        return Leadership(self.store, self.token, fence, StandingClock(self.clock))

    async def run(self, chore: Chore) -> float:
        """Let a chore run once; seconds until it wants to run again."""
        self.runs += 1
        wait_s = await chore.run(self.leadership(shared=chore.scope == "shared"))
        assert wait_s is not None
        return wait_s

    async def run_until(self, chore: Chore, end_ms: int) -> None:
        """Let a chore run whenever it wants to, until a time has come."""
        while self.clock.now_ms() < end_ms:
            wait_s = await self.run(chore)
            left_ms = end_ms - self.clock.now_ms()
            self.clock.advance(min(max(wait_s * 1000, 0), left_ms))
        await self.run(chore)

    async def take_over(self, token: str) -> None:
        """Another leads from now on."""
        for key in (self.store.keys.leader, *leader.foreign_locks(self.store.keys)):
            await self.store.call("SET", key, token)

    async def __aenter__(self) -> Self:
        await self.take_over(self.token)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.store.close()


class LeadingScheduler:
    """A scheduler that leads, and does nothing by itself.

    Attributes:
        chore: what is run by hand; to be set.
        told: what the chore has told, by `tell`.
    """

    chore: Chore

    def __init__(self, url: str, **options: Any) -> None:
        self.store = Store(RedisOptions(url=url, **options))
        self.told: list[tuple[Any, ...]] = []
        self.scheduler = Scheduler(self.store)
        self.scheduler.chores = []

    def tell(self, *told: Any) -> None:
        """For the chore."""
        self.told.append(told)

    def told_of(self, event: str) -> list[tuple[Any, ...]]:
        """What was told of one event."""
        return [told[1:] for told in self.told if told[0] == event]

    async def look(self) -> None:
        """Let the chore run once."""
        leadership = self.scheduler.leadership()
        assert leadership is not None
        await self.chore.run(leadership)

    async def __aenter__(self) -> Self:
        await self.scheduler.start()
        await wait_for(lambda: self.scheduler.leader)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.scheduler.stop()
        await self.store.close()
