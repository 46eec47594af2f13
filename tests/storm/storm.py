"""A whole storm: jobs of all kinds are enqueued while everything breaks, then all comes to rest."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from resqpy import Queue
from resqpy.base.errors import StoreError
from resqpy.embedded import PrivateServer
from resqpy.engine.worker.identity import ours
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions
from resqpy.tracked.verbs import Tracked
from tests.storm.auditor import Notes, Report, audit
from tests.storm.fleet import Fleet, Role
from tests.storm.weather import Weather
from tests.support.proxy import Proxy
from tests.support.waiting import wait_for

# How many of a hundred jobs are of a kind.
MIX = {
    "plain": 40, "threaded": 10, "delayed": 10, "retried": 10, "locked": 10, "once": 10, "tracked": 5,
    "tracked_once": 5,
}  # fmt: skip
ROLES = (
    Role(("worker", "--min", "1", "--max", "30", "-t", "2s")),
    Role(("worker", "--min", "10", "--max", "10", "-t", "500ms", "--scheduler")),
    Role(("worker", "--min", "5", "--max", "20", "-t", "2s", "-p", "2")),
    Role(("scheduler",)),
)


@dataclass
class Storm:
    """What a storm is made of.

    Attributes:
        count: how many jobs.
        roles: the processes that are always there.
        rest_s: the pause after a fault, in the mean.
        jobs_a_fault: so many jobs are enqueued for each fault.
        processes: whether processes are killed, stopped and frozen.
        connections: whether connections and Redis are disturbed.
        short: all is over with the last job that is enqueued.
        slow_ms: how long each script lasted that Redis noted as slow, by second and number.
    """

    folder: Path
    count: int
    seed: int
    roles: Sequence[Role] = ROLES
    rest_s: float = 0.5
    jobs_a_fault: int = 1200
    processes: bool = True
    connections: bool = True
    short: bool = False
    asked: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    faults: Counter[str] = field(default_factory=Counter)
    died: Counter[str] = field(default_factory=Counter)
    slow_ms: dict[tuple[int, int], float] = field(default_factory=dict)
    weather_type: type[Weather] = Weather

    async def run(self) -> Report:
        """Let it blow, wait until all is at rest, and look."""
        chance = random.Random(self.seed)
        fleet = Fleet(self.folder, chance)
        if not self.processes:  # nobody dies, so nobody is to be taken for dead
            fleet.settings["RESQPY_SCHEDULER_RESCUE_AFTER"] = "120000"
            fleet.settings["RESQPY_SCHEDULER_TASK_LOST_AFTER"] = "120000"
        async with self._redis() as (server, proxies, redis):
            self.died = fleet.died
            weather = self.weather_type(
                fleet, server, proxies, chance,
                processes=self.processes, connections=self.connections,
            )  # fmt: skip
            self.faults = weather.done
            watching = asyncio.create_task(self._watch_scripts(redis))
            try:
                for role in self.roles:
                    await fleet.start(role, weather.url())
                enqueueing = asyncio.create_task(self._enqueue(server.url, weather))

                async def over() -> bool:
                    rest = 0 if self.short else await self._rest(redis)
                    return enqueueing.done() and rest < self.count // 10

                await weather.blow(over, self.rest_s, self.jobs_a_fault)
                await enqueueing
                await fleet.replace_the_dead(weather.url)
                await self._come_to_rest(fleet, redis)
                await wait_for(lambda: self._none_of_the_dead(fleet, redis), 60)
                await wait_for(lambda: all(each.hears for each in fleet.members), 60)
                fleet.count_the_dead()  # the older version doesn't wait for Redis when it starts
                for member in [*fleet.members]:
                    code = await fleet.stop(member)
                    assert code == 0, f"{member.role}: {code}\n{self._log(fleet)}"
            finally:
                watching.cancel()
                await fleet.close()
            return await audit(redis, Notes(fleet.notes), self.asked)

    async def _watch_scripts(self, redis: Any) -> None:
        """Collect what Redis notes of slow scripts, which it forgets when it dies."""
        while True:
            with suppress(RedisError, OSError):
                for entry in await redis.slowlog_get(128):
                    if entry["command"].startswith(b"EVALSHA"):
                        self.slow_ms[entry["start_time"], entry["id"]] = entry["duration"] / 1000
            await asyncio.sleep(0.5)

    @property
    def slow_scripts(self) -> dict[str, float]:
        """How many scripts lasted longer than 5 ms by the wall clock, and the longest, in ms."""
        lasted = self.slow_ms.values()
        longest_ms = round(max(lasted, default=0.0), 1)
        return {"scripts over 5 ms": len(lasted), "longest of them, ms": longest_ms}

    @asynccontextmanager
    async def _redis(self) -> AsyncIterator[tuple[PrivateServer, list[Proxy], Any]]:
        async with AsyncExitStack() as stack:
            server = stack.enter_context(
                PrivateServer(persistent=True, config=["slowlog-log-slower-than 5000"])
            )
            proxies = [await stack.enter_async_context(Proxy(server.url)) for _ in range(3)]
            redis = await stack.enter_async_context(Redis.from_url(server.url, socket_timeout=10))
            yield server, proxies, redis

    async def _enqueue(self, url: str, weather: Weather) -> None:
        """A portion for each fault, so that it meets work; what fails is done again: no number is lost."""
        store, step = Store(RedisOptions(url)), self.jobs_a_fault
        async with Queue(url) as queue, closed(store):
            for number, first in enumerate(range(0, self.count, step)):
                await wait_for(lambda number=number: weather.rounds > number, 300)  # type: ignore[misc]
                numbers = range(first, min(first + step, self.count))
                await self._portion(queue, Tracked(store), [*numbers])

    async def _portion(self, queue: Queue, tracked: Tracked, numbers: list[int]) -> None:
        for kind, part in _shares(numbers).items():
            tries = 0
            while not await self._asked(
                queue, tracked, kind, [n + tries * 1_000_000 for n in part]
            ):
                tries += 1

    async def _asked(self, queue: Queue, tracked: Tracked, kind: str, numbers: list[int]) -> bool:
        """Whether Redis has them for certain; else other numbers are asked for the next time."""
        try:
            # of a lock that lapses while a connection is silent, the holder is taken for dead
            await _enqueue_all(queue, tracked, kind, numbers, 3000 if self.processes else 120_000)
        except StoreError:
            await asyncio.sleep(0.1)
            return False
        self.asked[kind].update(numbers * (2 if kind == "locked" else 1))
        return True

    async def _rest(self, redis: Any) -> int:
        """How many jobs have not come to an end."""
        try:
            waiting = int(await redis.llen("resque:queue:storm"))
        except RedisError:
            return self.count
        return waiting

    async def _come_to_rest(self, fleet: Fleet, redis: Any) -> None:
        """Nothing breaks any more: all must end, and what goes by the clock goes on."""
        wanted = sum(numbers.total() for numbers in self.asked.values())

        async def ended() -> bool:
            notes = await asyncio.to_thread(Notes, fleet.notes)
            failed = int(await redis.llen("resque:failed"))
            done = sum((notes.done[kind] & self.asked[kind]).total() for kind in self.asked)
            return done + failed >= wanted and not await _busy(redis)

        try:
            await wait_for(ended, 60 + self.count / 500)
        except AssertionError:
            print(self._log(fleet))  # the audit says what is missing
        before = await asyncio.to_thread(Notes, fleet.notes)

        async def goes_on() -> bool:
            now = await asyncio.to_thread(Notes, fleet.notes)
            return all(
                len(now.done[kind]) > len(before.done[kind]) + 2 for kind in ("periodic", "cron")
            )

        await wait_for(goes_on, 30, "periodic and cron tasks go on")

    @staticmethod
    async def _none_of_the_dead(fleet: Fleet, redis: Any) -> bool:
        """Whether those that were killed were taken for dead; one that had no job is missed by nobody else."""
        names = [ours(name.decode()) for name in await redis.smembers("resque:workers")]
        return all(name is not None and fleet.has(name.pid) for name in names)

    @staticmethod
    def _log(fleet: Fleet) -> str:
        return fleet.log.read_text()[-4000:]


@asynccontextmanager
async def closed(store: Store) -> AsyncIterator[None]:
    """Closes it at the end."""
    yield
    await store.close()


async def _busy(redis: Any) -> bool:
    keys = [key async for key in redis.scan_iter(match="resque:worker:*", count=1000)]
    records = [
        record for key in keys if not key.endswith(b":started") and (record := await redis.get(key))
    ]
    return bool(
        await redis.llen("resque:queue:storm")
        or await redis.zcard("resque:delayed_queue_schedule")
        or [record for record in records if b'"queue":"clock"' not in record]
    )


def _shares(numbers: list[int]) -> dict[str, list[int]]:
    found, first = {}, 0
    for kind, percent in MIX.items():
        last = first + len(numbers) * percent // 100
        found[kind] = numbers[first:last]
        first = last
    return found


async def _enqueue_all(
    queue: Queue, tracked: Tracked, kind: str, numbers: list[int], lock_ms: int
) -> None:
    if kind == "delayed":
        for number in numbers:
            await queue.enqueue_in(number % 5000, "storm", kind, [{"n": number}])
    elif kind in ("tracked", "tracked_once"):
        options: Any = (
            {"at_most_once": True} if kind == "tracked_once" else {"retries": 100, "backoff": 50}
        )
        for number in numbers:
            await tracked.create(
                kind, {"n": number}, queue="storm", lock_duration=lock_ms, **options
            )
    else:
        twice = 2 if kind == "locked" else 1
        await queue.enqueue_many([("storm", kind, [{"n": number}]) for number in numbers * twice])
