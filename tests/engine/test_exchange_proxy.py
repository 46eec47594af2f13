"""Random walks of real workers on a real Redis, with a proxy between them that does its worst."""

from __future__ import annotations

import asyncio
import gc
import json
import random
import socket
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis

from resqpy import Limit, MultiWorker, Rate, ScalingOptions, WorkerOptions
from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.errors import OutcomeUnknown, ResqpyError, StoreUnavailable
from resqpy.engine.definition import define
from resqpy.engine.scheduler.election import Leadership
from resqpy.engine.scheduler.rescue import RescueChore
from resqpy.engine.worker.identity import incarnation_of
from resqpy.engine.worker.pool import Pool
from resqpy.store import queues, workers
from resqpy.store.connection.client import RedisClock, Store
from resqpy.store.connection.options import RedisOptions
from resqpy.store.migrations import ALL, Migration, migrate
from tests.support.exchange_proxy import ExchangeProxy
from tests.support.proxy import Proxy

JOBS = 30
MOST = 2  # of them at once, where they have a limit
TOGETHER = 15  # walks that share a Redis, each with a namespace of its own
ACTS = (
    "open",
    "close",
    "quiet",
    "resume",
    "stop",
    "kill",
    "bury",
    "prune",
    "start",
    "wait",
    "wait",
)
FAR_S = 3600.0
LOCKS = ["QueueLock", "JobLock", "Retry"]


@dataclass
class Progress:
    """One walk.

    Attributes:
        disturbed: a plain job may run twice by now: its process was killed, or taken for dead.
        limit, plugins: of the jobs.
        shared: half of the jobs go to another language.
        now, most: how many run, and have run at once.
    """

    url: str
    direct: str
    seed: int
    in_flight: int
    begun: Counter[int] = field(default_factory=Counter)
    ran: Counter[int] = field(default_factory=Counter)
    alive: list[MultiWorker] = field(default_factory=list)
    disturbed: bool = False
    limit: list[Limit | Rate] = field(default_factory=list)
    shared: bool = False
    plugins: list[str] = field(default_factory=list)
    now: int = 0
    most: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.namespace = f"walk{self.seed}"
        self.store = Store(RedisOptions(self.direct, namespace=self.namespace))
        self.told: list[str] = []

    def key(self, *parts: str) -> str:
        """In the namespace."""
        return ":".join((self.namespace, *parts))

    async def note(self, number: int) -> None:
        """A task; one that a stop cuts off has begun, and not run."""
        self.begun[number] += 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(self.random.random() * 0.01)
            self.ran[number] += 1
        finally:
            self.now -= 1

    async def start(self) -> None:
        """One more process; one that can't reach Redis as it begins is begun anew."""
        for _ in range(50):
            if await self._start():
                return
        raise AssertionError(f"it could not begin: {self.told[-3:]}")

    async def _start(self) -> bool:
        options = RedisOptions(
            self.url, namespace=self.namespace, reply_timeout_s=0.3, connect_timeout_s=5.0
        )
        jobs = {
            "note": define("note", self.note, limit=self.limit, plugins=self.plugins),
            "once": define("once", self.note, at_most_once=True, limit=self.limit),
        }
        worker = MultiWorker(
            options,
            jobs,
            "q",
            WorkerOptions(heartbeat_s=0.5, stop_timeout_s=2.0, cancel_timeout_s=0.5, timeout_s=0.2),
            ScalingOptions(min_task_processors=3, max_task_processors=3),
        )
        worker.on("error", lambda error, *_: self.told.append(repr(error)))
        try:
            await worker.start()
        except (StoreUnavailable, OutcomeUnknown):
            return False
        self.alive.append(worker)
        return True

    async def act(self, what: str) -> None:
        """Something that happens to a process."""
        if not self.alive and what != "start":
            return
        worker = self.random.choice(self.alive) if self.alive else None
        if what == "start":
            if len(self.alive) < 2:
                await self.start()
        elif what != "wait" and worker is not None:
            await getattr(self, f"_{what}")(worker)

    async def _open(self, worker: MultiWorker) -> None:
        if worker.pool.slots.size < 6:
            await worker.pool.open_slots(self.random.randint(1, 2))

    async def _close(self, worker: MultiWorker) -> None:
        if (size := worker.pool.slots.size) > 1:
            worker.pool.close_slots(self.random.randint(1, size - 1))

    async def _quiet(self, worker: MultiWorker) -> None:
        worker.pause()

    async def _resume(self, worker: MultiWorker) -> None:
        worker.resume()

    async def _stop(self, worker: MultiWorker) -> None:
        self.alive.remove(worker)
        await (worker.stop() if self.random.random() < 0.5 else worker.stop_now())
        if worker.pool.reporting.doubt or worker.pool.slots.busy:
            self.disturbed = True  # it left without a word

    async def _kill(self, worker: MultiWorker) -> None:
        """It does nothing more, and says nothing to anybody."""
        if self.random.random() < 0.5:
            return
        self.alive.remove(worker)
        self.disturbed = True
        await abandon(worker)

    async def _bury(self, worker: MultiWorker) -> None:
        """The leader takes it for dead, though it lives."""
        if self.random.random() < 0.5:
            return
        self.disturbed = True
        await self.rescue(worker.pool.slots.incarnation)

    async def _prune(self, worker: MultiWorker) -> None:
        """Ruby takes one of its workers for dead: out it goes, and its job fails."""
        self.disturbed = True
        each = str(self.random.choice(worker.worker_ids))
        async with Redis.from_url(self.direct) as client:
            await client.srem(self.key("workers"), each)
            await client.hdel(self.key("workers", "heartbeat"), each)
            await client.delete(self.key("worker", each, "started"))
            async with client.pipeline(transaction=True) as pipe:
                pipe.get(self.key("worker", each))
                pipe.delete(self.key("worker", each))
                record, _ = await pipe.execute()
            if record is not None:
                entry = {"payload": json.loads(record)["payload"]}
                await client.rpush(self.key("failed"), json.dumps(entry))

    async def rescue(self, only: str | None = None) -> None:
        """What the leader does for processes that were silent for long, as all of them, or one, are."""
        store, clock = self.store, RedisClock(SYSTEM_CLOCK)
        clock.note(await store.time_us())
        await store.call("SET", store.keys.leader, "leader/1")
        leadership = Leadership(store, "leader/1", (store.keys.leader,), clock)
        chore = RescueChore(store, -FAR_S, lambda *_: None)
        if only is None:
            await store.call("DEL", store.keys.searched)
            await chore.run(leadership)
            await chore.run(leadership)
            return
        ids = [each for each in await workers.ids(store) if incarnation_of(each) == only]
        life = await store.call("HGET", store.keys.lives, only)
        before_s = clock.now_ms() / 1000 + FAR_S
        await chore._bury(leadership, only, ids, before_s, 1.0, life or b"")

    async def put(self, client: Any) -> None:
        """Enqueue the jobs."""
        compact, blanks = (",", ":"), (", ", ": ")  # the exchange reads the first as a text, too
        jobs = [
            json.dumps(
                {"class": "once" if n % 5 == 0 else "note", "queue": "q", "args": [n]},
                separators=compact if n % 2 else blanks,
            )
            for n in range(JOBS)
        ]
        await client.rpush(self.key("queue", "q"), *jobs)

    async def run(self, proxy: ExchangeProxy) -> None:
        """The walk itself."""
        async with Redis.from_url(self.direct) as client:
            await client.sadd(self.key("queues"), "q")
            await self.put(client)
        if self.shared:
            for name in ("note", "once"):
                await migrate(self.store, name, Migration("q", "ruby", ALL // 2, 100, ALL, 0))
        await self.start()
        for _ in range(14):
            await asyncio.sleep(self.random.random() * 0.06)
            try:
                await self.act(self.random.choice(ACTS))
            except ResqpyError as error:  # what was asked for could not be done
                self.told.append(repr(error))
        proxy_is_kind = self.random.random() < 0.5
        if proxy_is_kind:
            for worker in self.alive:
                worker.resume()
            await self.drained()
        await asyncio.gather(*(worker.stop() for worker in self.alive))

    async def drained(self) -> None:
        """Wait a while for those that live to do what is there."""
        for _ in range(40):
            [waiting] = await queues.lengths(self.store, ["q"])
            if not waiting or not self.alive:
                return
            await asyncio.sleep(0.05)

    async def problems(self) -> list[str]:
        """What was lost, doubled or left, when all processes are gone and the rescue was there."""
        await self.rescue()
        await self.rescue()
        for some in await queues.parked(self.store):
            await queues.put_back(self.store, some)
        client: Any
        async with Redis.from_url(self.direct) as client:
            left = await client.lrange(self.key("queue", "q"), 0, -1)
            sent = await client.lrange(self.key("queue", "q.ruby"), 0, -1)
            failed = await client.lrange(self.key("failed"), 0, -1)
            keys = {key.decode() for key in await client.keys(f"{self.namespace}:*")}
        kept = {json.loads(raw)["args"][0] for raw in left}
        kept |= {json.loads(raw)["payload"]["args"][0] for raw in failed}
        theirs = Counter(json.loads(raw)["args"][0] for raw in sent)
        both_sides = [n for n in theirs if self.begun[n] or n in kept or theirs[n] > 1]
        kept |= {*theirs}
        gone = [n for n in range(JOBS) if not self.ran[n] and n not in kept]
        found = [f"lost {n}" for n in gone if n % 5 or not self.begun[n]]
        found += [f"on both sides {n}" for n in both_sides]
        found += [f"at most once, twice: {n}" for n in range(0, JOBS, 5) if self.begun[n] > 1]
        if self.limit and not self.disturbed and self.most > MOST:
            found.append(f"{self.most} at once")
        if not self.disturbed:
            found += [f"twice {n}" for n in self.ran if self.ran[n] > 1]
        # the state is that of a late heartbeat, and expires
        usual = ("queue", "lock:", "failed", "stat:", "resqpy:leader", "resqpy:searched", "resqpy:rescue",
                 "resqpy:junk", "resqpy:limits:looked", "resqpy:limits:used",
                 "resqpy:limits:wakes", "resqpy:limits:migration", "resqpy:state")  # fmt: skip
        beginnings = tuple(self.key(each) for each in usual)
        keys.discard(self.key("resqpy:limits"))
        found += [f"left {key}" for key in keys if not key.startswith(beginnings)]
        await self.store.close()
        return found


async def abandon(worker: MultiWorker) -> None:
    """As kill -9 leaves it, as far as one program can: all that it does ends, nothing is told."""
    pool, wakeup = worker.pool, worker._wakeup
    assert wakeup is not None
    worker._ending = True
    running = [slot.task for slot in pool.slots.all if slot.task is not None]
    for task in (*worker._tasks, *running):
        task.end()
    for flight in tuple(pool._flights):
        flight.cancel()
    await asyncio.to_thread(wakeup.heartbeat.stop)
    pool.reporting.exchange.reset()
    await asyncio.wait([*worker._tasks, *running], timeout=5)
    await pool.close()
    await worker.store.close()


async def walks(
    url: str,
    seeds: range,
    limit: Sequence[Limit | Rate] = (),
    plugins: Sequence[str] = (),
    *,
    shared: bool = False,
    kind: type[Progress] = Progress,
) -> dict[int, Any]:
    """Several at once; those in which something went wrong."""

    async def one(seed: int) -> tuple[list[str], Progress, list[str]]:
        async with ExchangeProxy(url, seed) as proxy:
            walk = kind(proxy.url, url, seed, 1, limit=[*limit], shared=shared, plugins=[*plugins])
            await walk.run(proxy)
            await proxy.settled()
            return await walk.problems(), walk, proxy.done

    done = await asyncio.gather(*map(one, seeds))
    return {
        walk.seed: (problems, walk.told[-3:], fates) for problems, walk, fates in done if problems
    }


def part_of(count: int, part: int) -> range:
    """The seeds of one test."""
    return range(part * count, (part + 1) * count)


@pytest.mark.parametrize("part", range(20))
async def test_nothing_is_lost_doubled_or_left(
    redis_url: str, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one, two and three exchanges in flight: 300 walks; nor is a lock that was taken with a job left."""
    monkeypatch.setattr(Pool, "most_in_flight", part % 3 + 1)

    plugins = LOCKS if part % 2 else []
    assert await walks(redis_url, part_of(TOGETHER, part), plugins=plugins) == {}


LIMITS: list[list[Limit | Rate]] = [
    [Limit(MOST, name="all")],
    [Limit(MOST, name="all"), Rate(300, burst=3, name="r")],
]


@pytest.mark.parametrize("part", range(100, 104))
async def test_nothing_is_lost_by_limits(
    redis_url: str, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs that are parked meanwhile: none is lost or doubled, no place is left behind."""
    monkeypatch.setattr(Pool, "most_in_flight", part % 3 + 1)

    assert await walks(redis_url, part_of(TOGETHER, part), LIMITS[part % 2]) == {}


@pytest.mark.parametrize("part", range(130, 134))
async def test_nothing_is_lost_between_languages(
    redis_url: str, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the jobs go to the other side, once each, and none of them runs here; also with limits."""
    monkeypatch.setattr(Pool, "most_in_flight", part % 3 + 1)

    assert await walks(redis_url, part_of(TOGETHER, part), LIMITS[0][: part % 2], shared=True) == {}


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(104, 124))
async def test_nothing_is_lost_by_limits_for_long(
    redis_url: str, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2,100 walks more."""
    monkeypatch.setattr(Pool, "most_in_flight", part % 3 + 1)

    for seeds in range(7):
        numbers = part_of(TOGETHER, part * 7 + seeds)
        assert await walks(redis_url, numbers, LIMITS[seeds % 2]) == {}


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(20, 68))
async def test_nothing_is_lost_doubled_or_left_for_long(
    redis_url: str, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """5,000 walks more."""
    monkeypatch.setattr(Pool, "most_in_flight", part % 3 + 1)

    for seeds in range(7):
        plugins = LOCKS if seeds % 2 else []
        assert await walks(redis_url, part_of(TOGETHER, part * 7 + seeds), plugins=plugins) == {}


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("kind", [Proxy, partial(ExchangeProxy, seed=1)])
async def test_a_connection_at_the_end_of_a_proxy(redis_url: str, kind: Any, turns: int) -> None:
    """It is closed, however few turns of the loop it is old; else a test after this one fails of it."""
    async with kind(redis_url) as proxy:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(urlsplit(proxy.url).path)
            for _ in range(turns):
                await asyncio.sleep(0)
    gc.collect()
