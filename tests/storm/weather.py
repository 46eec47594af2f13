"""The faults of a storm, one after the other, by chance."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from resqpy.embedded import PrivateServer
from tests.storm.fleet import Fleet, Role
from tests.support.proxy import Proxy

_BYTES_OF_A_NOTE = 20

Fault = Callable[[], Awaitable[None]]


class Weather:
    """Does one thing after the other to processes, connections and Redis.

    Args:
        roles: what is started in the place of what was ended, each by one of its own.
        processes: whether processes are killed, stopped and frozen.
        connections: whether connections and Redis are disturbed.

    Attributes:
        rounds: of how many faults the jobs may be enqueued by now.
    """

    def __init__(
        self,
        fleet: Fleet,
        server: PrivateServer,
        proxies: Sequence[Proxy],
        chance: random.Random,
        *,
        processes: bool = True,
        connections: bool = True,
    ) -> None:
        self.done: Counter[str] = Counter()
        self.rounds = 0
        self._fleet = fleet
        self._server = server
        self._proxies = proxies
        self._chance = chance
        self._frozen: set[asyncio.Task[None]] = set()
        self._faults: list[Fault] = []
        if processes:
            self._faults += [self.kill, self.kill, self.term, self.freeze, self.long_freeze]
        if connections:
            self._faults += [self.cut, self.lose, self.lose, self.silence, self.stall, self.restart]

    def url(self) -> str:
        """Where a new process finds Redis."""
        return self._chance.choice(self._proxies).url

    async def blow(
        self, over: Callable[[], Awaitable[bool]], rest_s: float, jobs_a_fault: int
    ) -> None:
        """One fault after the other, each at least once, until it is over. For each of them some jobs are
        enqueued, and it comes in the midst of them, however fast they are worked.

        Args:
            rest_s: the pause after one, in the mean.
        """
        faults = [*self._faults]
        self._chance.shuffle(faults)
        while faults or not await over():
            fault = faults.pop() if faults else self._chance.choice(self._faults)
            notes = self._fleet.notes.stat().st_size
            self.rounds += 1
            share = self._chance.random() * jobs_a_fault
            await self._work_goes_on(notes + 1 + int(share * _BYTES_OF_A_NOTE))
            self.done[getattr(fault, "__name__", "?")] += 1
            await fault()
            await self._fleet.replace_the_dead(self.url)
            await asyncio.sleep(self._chance.uniform(0, 2 * rest_s))
        await asyncio.gather(*self._frozen)

    async def _work_goes_on(self, bytes_noted: int) -> None:
        """Until so much is noted; not for ever, for what stands still may need another fault to go on."""
        for _ in range(3000):
            if self._fleet.notes.stat().st_size >= bytes_noted:
                return
            await asyncio.sleep(0.005)

    async def kill(self) -> None:
        """Kill -9."""
        member = self._fleet.any()
        await self._fleet.kill(member)
        await self._fleet.start(self.next_role(member.role), self.url())

    async def term(self) -> None:
        """A rolling restart: the new one is there before the old one ends."""
        member = self._fleet.any()
        await self._fleet.start(self.next_role(member.role), self.url())
        await self._fleet.stop(member)

    def next_role(self, role: Role) -> Role:
        """What is started in its place."""
        return role

    async def freeze(self) -> None:
        """It stands still for a moment."""
        self._freeze(self._chance.uniform(0.05, 1))

    async def long_freeze(self) -> None:
        """It stands still until others take it for dead."""
        self._freeze(self._chance.uniform(5, 8))

    def _freeze(self, seconds: float) -> None:
        if sum(each.frozen for each in self._fleet.members) > len(self._fleet.members) // 2:
            return
        member = self._fleet.any()
        member.freeze()

        async def thaw() -> None:
            await asyncio.sleep(seconds)
            member.thaw()

        task = asyncio.create_task(thaw())
        self._frozen.add(task)
        task.add_done_callback(self._frozen.discard)

    async def cut(self) -> None:
        """All connections of some processes."""
        self._chance.choice(self._proxies).reset()

    async def lose(self) -> None:
        """Replies of scripts, and requests."""
        proxy = self._chance.choice(self._proxies)
        proxy.lose_reply(*self._chance.sample(range(1, 30), 4))
        proxy.cut_before(*self._chance.sample(range(1, 30), 2))

    async def silence(self) -> None:
        """Half-open connections, for longer than a reply may take."""
        proxy = self._chance.choice(self._proxies)
        proxy.silence()
        await asyncio.sleep(self._chance.uniform(0.2, 3))
        proxy.speak()
        proxy.reset()

    async def stall(self) -> None:
        """Redis stands still."""
        self._server.pause()
        await asyncio.sleep(self._chance.uniform(0.2, 3))
        self._server.resume()

    async def restart(self) -> None:
        """Redis is killed, and comes back with its data."""
        self._server.kill()
        await asyncio.sleep(self._chance.uniform(0, 1))
        await asyncio.to_thread(self._server.start)
