"""Schedulers of all languages at once, killed, frozen and restarted at random.

The jobs come in rounds; a round ends when nothing is delayed any more. Who promoted in a round is
seen in the locks, so the losses of a round in which a foreign scheduler led are counted apart: its
kills and freezes lose and double jobs by its own doing (it pops a job and pushes it in a second
step, or pushes and pops in a second step), whatever we do. Rounds in which only ours led must lose
and double nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Protocol

import pytest

from tests.support.foreign import NodeDriver, RubyDriver, Target
from tests.support.other_languages import require
from tests.support.scheduler_process import SchedulerProcess
from tests.support.waiting import wait_for

LOCK_S = 2  # seconds; the foreign schedulers' own default of 180 would make long pauses
NODE_LOCK = "resque:resque_scheduler_leader_lock"
RUBY_LOCK = "resque:resque:resque_scheduler_master_lock"
DELAYED = "resque:delayed_queue_schedule"


class Party(Protocol):
    """A scheduler of some language in a process of its own."""

    name: str

    async def start(self) -> None:
        """Begin to schedule."""

    async def kill(self) -> None:
        """Kill -9."""

    def signal(self, number: int) -> None:
        """SIGSTOP or SIGCONT."""


class Ours:
    """resqpy's."""

    def __init__(self, url: str, name: str = "ours") -> None:
        self.name = name
        self._url = url

    async def start(self) -> None:
        self._process = SchedulerProcess(
            self._url, lease_s=0.5, timeout_s=0.2, foreign_lock_ttl_s=30
        )
        await self._process.__aenter__()

    async def kill(self) -> None:
        await self._process.kill()

    def signal(self, number: int) -> None:
        os.killpg(self._process.pid, number)


class Node:
    """node-resque's."""

    def __init__(self, url: str, name: str = "node") -> None:
        self.name = name
        self._url = url

    async def start(self) -> None:
        self._driver = NodeDriver(Target.from_url(self._url))
        await self._driver.start()
        options = {"timeout": 50, "leaderLockTimeout": LOCK_S}
        mute = ["poll", "transferredJob", "workingTimestamp"]
        await self._driver.call("scheduler.start", {**options, "mute": mute})

    async def kill(self) -> None:
        await self._driver.kill()

    def signal(self, number: int) -> None:
        os.kill(self._driver.pid, number)


class Ruby:
    """resque-scheduler's."""

    def __init__(self, url: str, name: str = "ruby") -> None:
        self.name = name
        self._url = url

    async def start(self) -> None:
        self._driver = RubyDriver(Target.from_url(self._url))
        await self._driver.start()
        options: dict[str, Any] = {"interval": 0.05, "env": {"LOCK_TIMEOUT": str(LOCK_S)}}
        self._pid = (await self._driver.call("scheduler.start", options))["pid"]

    async def kill(self) -> None:
        self.signal(signal.SIGKILL)
        await self._driver.close()

    def signal(self, number: int) -> None:
        os.kill(self._pid, number)


@dataclass
class Tally:
    """What became of the jobs of some rounds."""

    rounds: int = 0
    jobs: int = 0
    lost: int = 0
    doubled: int = 0

    def add(self, jobs: int, lost: int, doubled: int) -> None:
        """Count a round."""
        self.rounds, self.jobs = self.rounds + 1, self.jobs + jobs
        self.lost, self.doubled = self.lost + lost, self.doubled + doubled

    def merge(self, other: Tally) -> None:
        """Add the rounds of another."""
        self.rounds, self.jobs = self.rounds + other.rounds, self.jobs + other.jobs
        self.lost, self.doubled = self.lost + other.lost, self.doubled + other.doubled

    def __str__(self) -> str:
        return f"{self.jobs} jobs in {self.rounds} rounds: {self.lost} lost, {self.doubled} doubled"


@dataclass
class Trial:
    """One run of parties against each other."""

    redis: Any
    parties: list[Party]
    chance: random.Random
    ours_led: Tally = field(default_factory=Tally)
    foreign_led: Tally = field(default_factory=Tally)
    kills: Counter[str] = field(default_factory=Counter)
    foreign_in_round: bool = False

    async def leads(self) -> Any:
        """Who holds a foreign lock now."""
        values = await self.redis.mget(NODE_LOCK, RUBY_LOCK)
        held = zip(values, ("node", "ruby"), strict=True)
        return {"ours" if b"+scheduler-" in value else name for value, name in held if value}

    async def watch(self, over: asyncio.Event) -> None:
        """Note whether a foreign scheduler led in this round. Not cancelled: redis-py may swallow that."""
        while not over.is_set():
            if await self.leads() - {"ours"}:
                self.foreign_in_round = True
            await asyncio.sleep(0.002)

    async def round(self, number: int, jobs: int) -> None:
        """Delay jobs, disturb, wait until all are promoted, count."""
        await wait_for(self.leads, timeout=100)
        self.foreign_in_round = False
        over = asyncio.Event()
        watcher = asyncio.create_task(self.watch(over))
        try:
            await self._delay(number, jobs)
            await self._disturb()
            await wait_for(self._drained, timeout=120)
            await asyncio.sleep(0.2)  # who was thawed ends what it was doing
        finally:
            over.set()
            await watcher
        tally = self.foreign_led if self.foreign_in_round else self.ours_led
        tally.add(jobs, *await self._count(jobs))

    async def _drained(self) -> Any:
        keys = (DELAYED, "resque:resqpy:claimed")
        return await self.redis.exists(*keys) == 0

    async def _delay(self, number: int, jobs: int) -> None:
        """A few seconds that come due while the round goes on; round by round other ones."""
        seconds, _ = await self.redis.time()
        for first in range(0, jobs, 1000):
            async with self.redis.pipeline(transaction=True) as step:
                for job in range(first, min(jobs, first + 1000)):
                    second = seconds + 1 + job % 3
                    item = b'{"class":"Echo","queue":"q","args":[%d,%d]}' % (number, job)
                    step.rpush(f"resque:delayed:{second}", item)
                    step.sadd(b"resque:timestamps:" + item, f"delayed:{second}")
                    step.zadd(DELAYED, {str(second): second})
                await step.execute()

    async def _disturb(self) -> None:
        """Kill or freeze somebody in the midst of a promotion, and start it again."""
        for party in self.chance.sample(self.parties, len(self.parties)):
            if self.chance.random() < 0.6:
                await self._promotion_goes_on()
                await asyncio.sleep(self.chance.random() * self.chance.choice([0.005, 0.05, 0.3]))
                await self._hit(party)

    async def _promotion_goes_on(self) -> None:
        """Return when jobs enter the queue, or when there are none left that could."""
        before = await self.redis.llen("resque:queue:q")

        async def moved() -> Any:
            return await self._drained() or await self.redis.llen("resque:queue:q") > before

        await wait_for(moved, timeout=100)

    async def _hit(self, party: Party) -> None:
        if self.chance.random() < 0.7:
            self.kills[party.name] += 1
            await party.kill()
            await party.start()
            return
        party.signal(signal.SIGSTOP)
        await asyncio.sleep(LOCK_S * 1.2 if self.chance.random() < 0.3 else 0.3)
        party.signal(signal.SIGCONT)

    async def _count(self, jobs: int) -> tuple[int, int]:
        """How many are lost and how many doubled; the queue is empty then."""
        found: Counter[int] = Counter()
        for raw in await self.redis.lrange("resque:queue:q", 0, -1):
            found[json.loads(raw)["args"][1]] += 1
        await self.redis.delete("resque:queue:q")
        return jobs - len(found), sum(count > 1 for count in found.values())


async def run(
    redis: Any, parties: list[Party], rounds: int, jobs: int, seed: int | None = None
) -> Trial:
    """So many rounds with so many jobs each."""
    seed = random.randrange(10**6) if seed is None else seed
    trial = Trial(redis, parties, random.Random(seed))
    began = time.monotonic()
    for party in parties:
        await party.start()
        await wait_for(trial.leads)
    try:
        for number in range(rounds):
            await trial.round(number, jobs)
    finally:
        for party in parties:
            await party.kill()
    names = ", ".join(party.name for party in parties)
    print(f"\n{names}; seed {seed}; {time.monotonic() - began:.0f} s; kills {dict(trial.kills)}")
    print(f"  while ours led:      {trial.ours_led}")
    print(f"  while a foreign led: {trial.foreign_led}")
    return trial


def languages(url: str) -> list[Party]:
    """One scheduler of each language that is there: ours, Node's, Ruby's."""
    parties: list[Party] = [Ours(url)]
    if NodeDriver.missing() is None:
        parties.append(Node(url))
    if RubyDriver.missing() is None:
        parties.append(Ruby(url))
    return parties


@pytest.fixture
def node_is_there() -> None:
    """Skips where there is no Node; CI has one."""
    require("node", NodeDriver.missing())


async def test_nothing_is_lost_while_ours_leads(
    node_is_there: None, redis: Any, redis_url: str
) -> None:
    """A small round or two, for every day."""
    trial = await run(redis, languages(redis_url), rounds=2, jobs=300)
    assert (trial.ours_led.lost, trial.ours_led.doubled) == (0, 0)


@pytest.mark.full
@pytest.mark.timeout(1800)
async def test_nothing_of_60_000_is_lost_while_ours_leads(
    node_is_there: None, redis: Any, redis_url: str
) -> None:
    """Schedulers of all languages, killed and frozen at random; each is the first to lead once."""
    ours, foreign = Tally(), Tally()
    for first in range(len(languages(redis_url))):
        await redis.flushall()
        parties = languages(redis_url)
        rounds = 6 if first else 20
        trial = await run(redis, parties[first:] + parties[:first], rounds, jobs=3000)
        ours.merge(trial.ours_led)
        foreign.merge(trial.foreign_led)
    print(f"together\n  while ours led:      {ours}\n  while a foreign led: {foreign}")
    assert (ours.lost, ours.doubled) == (0, 0)
    assert ours.jobs >= 50_000


@pytest.mark.full
@pytest.mark.timeout(1800)
async def test_what_two_node_schedulers_lose(
    node_is_there: None, redis: Any, redis_url: str
) -> None:
    """For comparison: the same without ours. It is printed, not judged."""
    await run(redis, [Node(redis_url, "node"), Node(redis_url, "node2")], rounds=20, jobs=3000)
