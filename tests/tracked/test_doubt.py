"""Tracked and at-most-once jobs whose exchanges are in doubt: a reply of their taking, or their mark, is lost."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from resqpy import Queue
from resqpy.base import job_records
from resqpy.engine.options import WorkerOptions
from resqpy.store import workers
from resqpy.store.connection.client import Store, script
from resqpy.store.connection.options import RedisOptions
from resqpy.store.exchange import Exchange, SlotRef
from resqpy.tracked.claiming import TakenTask
from resqpy.tracked.errors import TaskStateError
from resqpy.tracked.recovery import settle_due
from resqpy.tracked.verbs import Tracked
from tests.engine.test_rescue import INCARNATION, JOB, Scene, die_with, worker_id
from tests.support.proxy import Proxy
from tests.support.waiting import wait_for
from tests.support.working import QUIET, Working, at_rest, new_worker, working
from tests.tracked.support import KEYS, Workshop, known, promoting, status_is

QUICK: dict[str, Any] = {"reply_timeout_s": 5.0, "connect_timeout_s": 5.0}
EXCHANGE = script("exchange").sha.encode()


class Site:
    """A worker of the queue `mail` behind a proxy.

    Attributes:
        ran: the numbers of the tasks that have begun, each time.
        gate: opened, runs end.
    """

    def __init__(self, shop: Workshop, proxy: Proxy) -> None:
        self.shop = shop
        self.proxy = proxy
        self.ran: list[int] = []
        self.gate = asyncio.Event()

    def lose_the_taking(self) -> None:
        """The reply to the next exchange is lost: the one that takes what is created next."""
        self.proxy.lose_reply(1)

    async def in_doubt(self) -> None:
        """Return when the exchange that was lost is in doubt, or was."""
        await wait_for(lambda: self.shop.worker.pool.reporting.epoch > 1 or self.doubt)

    @property
    def doubt(self) -> bool:
        """Whether an exchange is in doubt now."""
        return self.shop.worker.pool.reporting.doubt

    async def idle(self) -> None:
        """Return when it has nothing to do."""
        pool = self.shop.worker.pool
        await wait_for(lambda: not (pool.slots.busy or pool.reporting.doubt))


@asynccontextmanager
async def site(url: str, *, wait: bool = False, slots: int = 2) -> AsyncIterator[Site]:
    """The worker, until the end of the block."""
    async with Proxy(url) as proxy:
        proxy.needle = EXCHANGE
        store = Store(RedisOptions(proxy.url, **QUICK))
        made: list[Site] = []

        async def mail(payload: Any) -> str:
            made[0].ran.append(payload["n"])
            if wait:
                await made[0].gate.wait()
            return "sent"

        options = WorkerOptions(
            stop_timeout_s=0.2, cancel_timeout_s=1, heartbeat_s=60, timeout_s=60
        )
        shop = Workshop(store, {"mail": mail}, queues="mail", slots=slots, options=options)
        made.append(Site(shop, proxy))
        async with shop:
            await at_rest(shop.worker)
            yield made[0]
        await store.close()


async def look_for_the_lost(store: Store) -> None:
    """What the scheduler does about locks that are over."""
    await settle_due(store)


KINDS: dict[str, dict[str, Any]] = {
    "tracked": {"retries": 3},
    "at most once": {"at_most_once": True},
    "with an end": {"end": int(time.time() * 1000) + 3_600_000},
}


@pytest.mark.promise("reply lost", "tracked", "tracked at most once")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lost", [1, 2])
async def test_the_reply_of_taking_is_lost(
    tracked: Tracked, redis: Any, redis_url: str, kind: str, lost: int
) -> None:
    """Nobody had begun it: it runs, once, and is no zombie; also where the recovery is lost, too."""
    async with site(redis_url) as at:
        at.proxy.lose_reply(*range(1, lost + 1))
        task = await tracked.create("mail", {"n": 1}, queue="mail", **KINDS[kind])
        after = await status_is(tracked, task.id, "completed")
        await look_for_the_lost(tracked.store)
        await at.idle()
        assert at.proxy.seen > lost
        assert at.ran == [1]
    after = await known(tracked, task.id)
    assert (after.status, after.runs, after.attempts, after.error) == ("completed", 1, 0, None)
    assert await redis.llen(KEYS.failed) == 0
    assert not await redis.exists(KEYS.queue("mail"), KEYS.task_locks)


@pytest.mark.parametrize("kind", KINDS)
async def test_the_request_of_taking_is_lost(
    tracked: Tracked, redis: Any, redis_url: str, kind: str
) -> None:
    """It has never arrived: the job waits, and is taken by the next one."""
    async with site(redis_url) as at:
        at.proxy.cut_before(1)
        task = await tracked.create("mail", {"n": 1}, queue="mail", **KINDS[kind])
        assert (await status_is(tracked, task.id, "completed")).runs == 1
        assert at.ran == [1]


@pytest.mark.parametrize("kind", KINDS)
async def test_the_reply_of_the_end_is_lost(
    tracked: Tracked, redis: Any, redis_url: str, kind: str
) -> None:
    """The end is reported twice and counts once."""
    async with site(redis_url, wait=True) as at:
        task = await tracked.create("mail", {"n": 1}, queue="mail", **KINDS[kind])
        await wait_for(lambda: at.ran)
        at.lose_the_taking()
        at.gate.set()
        after = await status_is(tracked, task.id, "completed")
        await at.idle()
    assert (after.runs, after.attempts, at.ran) == (1, 0, [1])
    assert await redis.get(KEYS.stat("processed")) == b"1"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stop_in_doubt(tracked: Tracked, redis: Any, redis_url: str, kind: str) -> None:
    """The worker stops before it has heard what it was given: another one runs it, and at once."""
    async with site(redis_url) as at:
        at.lose_the_taking()
        task = await tracked.create("mail", {"n": 1}, queue="mail", **KINDS[kind])
        await wait_for(lambda: at.doubt)
        await at.shop.worker.stop(0)
        assert at.ran == []
    waits = await known(tracked, task.id)
    assert (waits.status, waits.runs, waits.attempts) == ("pending", 0, 0)
    assert await redis.llen(KEYS.queue("mail")) == 1
    async with site(redis_url) as at:
        after = await status_is(tracked, task.id, "completed")
        assert (after.runs, at.ran) == (1, [1])
    assert await redis.llen(KEYS.failed) == 0


@pytest.mark.parametrize("kind", KINDS)
async def test_a_death_with_the_claim(
    tracked: Tracked, redis: Any, redis_url: str, kind: str
) -> None:
    """It dies before it hears that it has the task; the rescue brings the job back, once the lock is over."""
    task = await tracked.create("mail", {"n": 1}, queue="mail", lock_duration=300, **KINDS[kind])
    async with Scene(redis_url) as scene:
        await die_with_the_claim(scene.store, task.record.id)
        await scene.look()
    assert await redis.llen(KEYS.queue("mail")) == 1
    async with site(redis_url) as at:

        async def over() -> bool:
            await look_for_the_lost(tracked.store)
            return (await known(tracked, task.id)).status.final

        await wait_for(over)
        await at.idle()
        after = await known(tracked, task.id)
        if kind == "at most once":  # nobody knows whether it had begun
            assert (after.status, at.ran) == ("failed", [])
            assert after.error is not None
            assert after.error.name == "zombieTaskCleaned"
        else:
            assert (after.status, at.ran) == ("completed", [1])
    assert await redis.llen(KEYS.failed) == (kind == "at most once")


async def die_with_the_claim(store: Store, task_id: str) -> None:
    """A process takes the job, and the task with it, and is never heard of again."""
    dead = worker_id(1)
    await workers.register(store, INCARNATION, [dead], "x", epoch=1)
    along = TakenTask.takes_along(store.keys)
    exchange = Exchange(store, incarnation=INCARNATION, along=along)
    at = "2026-11-21T00:00:00.000000Z"
    reply = await exchange.run([], [SlotRef.of(dead)], ["mail"], at)
    await exchange.close()
    [taken] = reply.taken
    assert taken.claim.along is not None
    await store.call("ZINCRBY", store.keys.processes, -100, INCARNATION)


@pytest.mark.parametrize("verb", ["cancel", "disable"])
async def test_a_verb_in_doubt(tracked: Tracked, redis: Any, redis_url: str, verb: str) -> None:
    """Somebody cancels or disables the task while its worker does not know yet that it has it."""
    async with site(redis_url) as at:
        release = asyncio.Event()
        pool = at.shop.worker.pool
        recover = pool._recover

        async def later() -> None:
            await release.wait()
            await recover()

        pool._recover = later  # type: ignore[method-assign]
        at.lose_the_taking()
        task = await tracked.create("mail", {"n": 1}, queue="mail", retries=3)
        await wait_for(lambda: at.doubt)
        at_hand = await known(tracked, task.id)
        assert at_hand.status == "running"
        if verb == "cancel":  # as of any run that has begun
            with pytest.raises(TaskStateError):
                await at_hand.cancel()
        else:
            await at_hand.disable()
        release.set()
        await at.idle()
        after = await known(tracked, task.id)
        await look_for_the_lost(tracked.store)
        assert not await redis.exists(KEYS.queue("mail"), KEYS.task_locks)
    assert (after.status, after.record.enabled, at.ran) == ("completed", verb == "cancel", [1])
    assert await redis.llen(KEYS.failed) == 0


@pytest.mark.parametrize("seed", [1, 2])
async def test_hastened_tasks(
    tracked: Tracked, redis: Any, redis_url: str, store: Store, seed: int
) -> None:
    """Each of its times comes once, whatever replies are lost on the way, and no attempt is counted."""
    async with site(redis_url) as at, promoting(redis, store):
        chance = random.Random(seed)
        at.proxy.lose_reply(*sorted(chance.sample(range(1, 16), 4)))
        at.proxy.cut_before(*sorted(chance.sample(range(16, 30), 3)))
        task = await tracked.create("mail", {"n": 1}, queue="mail", interval=150, retries=3)
        await wait_for(lambda: len(at.ran) > 9)
        await at.idle()
        after = await known(tracked, task.id)
        assert (after.attempts, after.deliveries, after.error) == (0, 0, None)
        assert abs(after.runs - len(at.ran)) <= 1
        await after.remove()
        await at.idle()
    assert await redis.llen(KEYS.failed) == 0


# -- jobs without a record --


async def load(redis: Any, name: str) -> bytes:
    """Let Redis know a script, so that its first call is that one; what the proxy counts."""
    await redis.script_load(script(name).text)
    return script(name).sha.encode()


class Once:
    """A job that may run once, behind a proxy."""

    def __init__(self) -> None:
        self.ran: list[int] = []
        self.jobs = {"pay": {"perform": self.pay, "at_most_once": True}}

    async def pay(self, number: int) -> None:
        """Note that it runs."""
        self.ran.append(number)


@pytest.mark.promise("reply lost", "at most once")
@pytest.mark.parametrize("count", [1, 2])
async def test_the_reply_of_the_mark_is_lost(redis: Any, redis_url: str, count: int) -> None:
    """Nobody knows whether it was noted, so it does not start. It goes back, and is run by the next one,
    if the mark says nothing else.
    """
    once = Once()
    async with Proxy(redis_url) as proxy:
        proxy.needle = await load(redis, "mark_once")
        proxy.lose_reply(*range(1, count + 1))
        async with Queue(redis_url) as queue:
            await queue.enqueue("q", "pay", [1])
        async with working(proxy.url, once.jobs, "q") as work:
            await work.until(1)
            await wait_for(lambda: not work.worker.pool.slots.busy)
        assert proxy.seen == count + 1
    assert once.ran == [1]
    assert await redis.llen(KEYS.failed) == 0
    assert not await redis.exists(KEYS.at_most_once, KEYS.queue("q"))


async def test_a_mark_that_was_noted_before(redis: Any, redis_url: str) -> None:
    """A failover brought the record and its mark back: it may have run, so it fails, and does not run."""
    once = Once()
    async with Proxy(redis_url) as proxy:
        proxy.needle = await load(redis, "exchange")
        async with Queue(redis_url) as queue:
            await queue.enqueue("q", "pay", [1])
        proxy.lose_reply(1)

        async def mark() -> None:  # what came before the failover
            [key] = [
                each for each in await redis.keys("resque:worker:*") if b":started" not in each
            ]
            record = await redis.get(key)
            beginning = record[: record.index(b'"payload":') + len(b'"payload":')]
            await redis.hset(KEYS.at_most_once, key.removeprefix(b"resque:worker:"), beginning)

        work = Working(new_worker(proxy.url, once.jobs, "q", heartbeat_s=60), QUIET)
        async with work.worker:
            recover = work.worker.pool._recover

            async def marked() -> None:
                await mark()
                work.worker.pool._recover = recover  # type: ignore[method-assign]
                await recover()

            work.worker.pool._recover = marked  # type: ignore[method-assign]
            await work.until(1)
    assert once.ran == []
    entry = job_records.decode_failed((await redis.lrange(KEYS.failed, 0, -1))[0])
    assert entry.exception == "WorkerDied"
    assert not await redis.exists(KEYS.at_most_once, KEYS.queue("q"))


async def test_a_mark_of_an_earlier_run(redis: Any, redis_url: str) -> None:
    """It says nothing of the run on record: a plain job comes back, and an at-most-once job, too."""
    async with Scene(redis_url) as scene:
        await die_with(scene.store, JOB)
        await redis.hset(
            KEYS.at_most_once,
            str(worker_id(1)),
            job_records.work_prefix("mail", "2025-01-01T00:00:00.000000Z"),
        )
        await scene.look()
    assert await redis.lrange(KEYS.queue("mail"), 0, -1) == [JOB]
    assert not await redis.exists(KEYS.failed, KEYS.at_most_once)
