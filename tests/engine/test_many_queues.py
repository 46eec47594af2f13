"""`*` over thousands of queues: an exchange names those that may have jobs, and no job waits for that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from resqpy.embedded import PrivateServer
from resqpy.engine.worker.heartbeat import Vitals, beat
from resqpy.engine.worker.queues import MANY, HotQueues
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions
from tests.support.waiting import wait_for
from tests.support.working import Working, working

NAMES = [f"t{n:04}" for n in range(2000)]
LAZY: dict[str, Any] = {"timeout_s": 60, "heartbeat_s": 60}
JOB = b'{"class":"no_op","args":[]}'


async def no_op(*_: Any) -> None:
    """A task."""


async def know(redis: Any, names: Sequence[str] = NAMES) -> None:
    """Make the queues known."""
    await redis.sadd("resque:queues", *names)


async def push(redis: Any, *queues: str) -> None:
    """A job into each, as foreign clients do."""
    async with redis.pipeline(transaction=False) as pipe:
        for queue in queues:
            pipe.sadd("resque:queues", queue)
            pipe.rpush(f"resque:queue:{queue}", JOB)
        await pipe.execute()


def deafen(work: Working) -> None:
    """Redis' messages are lost, and the worker doesn't know it."""
    assert work.worker._wakeup is not None
    tracker = work.worker._wakeup.tracker
    tracker._channels = dict.fromkeys(tracker._channels, lambda _: None)


def queues_of(work: Working) -> list[str]:
    """From which queues jobs were taken, in their order."""
    return [queue for _, queue, _ in work.args("job")]


def requests_of(work: Working) -> list[int]:
    """How many queues each exchange names from now on."""
    reporting, named = work.worker.pool.reporting, list[int]()
    send = reporting.send

    def counted(wave: Any, names: Sequence[str], **more: Any) -> Any:
        named.append(len(names))
        return send(wave, names, **more)

    reporting.send = counted  # type: ignore[method-assign]
    return named


@asynccontextmanager
async def held(redis_url: str, redis: Any, low: str) -> AsyncIterator[tuple[Working, Any]]:
    """A worker whose only slot runs a job of a low queue, where more wait; and what lets it go on."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def wait(*_: Any) -> None:
        if not go_on.is_set():
            begun.set()
            await go_on.wait()

    await know(redis)
    await push(redis, low, low, low)
    async with working(redis_url, {"no_op": wait}, "*", **LAZY) as work:
        await begun.wait()
        await work.until_quiet()
        yield work, go_on


# -- what it costs --


async def test_commands_do_not_depend_on_the_number_of_idle_queues(
    redis_url: str, redis: Any
) -> None:
    """All are looked at once; then a job costs a look or two, and not one for each queue."""
    await know(redis)
    await push(redis, *[NAMES[0]] * 200)
    async with working(redis_url, {"no_op": no_op}, "*", **LAZY) as work:
        sent = requests_of(work)
        await work.until(200)
        assert sum(count > MANY for count in sent) <= 3
        await work.until_quiet()
        await redis.config_resetstat()
        line = work.worker.pool.reporting.exchange.line
        trips = line.round_trips
        for number in range(100):
            await push(redis, NAMES[-1])
            await work.until(201 + number)
        await work.until_quiet()
        trips = line.round_trips - trips
        looks = (await redis.info("commandstats"))["cmdstat_lpop"]["calls"]
    assert 100 <= looks <= 2 * trips


async def test_an_exchange_names_a_limited_number(redis_url: str, redis: Any) -> None:
    """Also where all queues have jobs; and they are taken in the order of priority."""
    await redis.set("resque:pause-all-workers", "true")
    await push(redis, *NAMES)
    async with working(redis_url, {"no_op": no_op}, "*", **LAZY) as work:
        await work.until_quiet()
        named = requests_of(work)
        await redis.delete("resque:pause-all-workers")
        await work.until(len(NAMES))
        assert queues_of(work) == NAMES
    assert sum(count > MANY for count in named) <= 5  # while nobody knows that any is empty


def test_few_are_always_named() -> None:
    """No message is needed to find a job of one of them with the next exchange."""
    hot = HotQueues()
    hot.follow(NAMES[:MANY])
    assert hot.next() == NAMES[:MANY]
    assert not hot.emptied(NAMES[:MANY], hot.told)
    assert hot.next() == NAMES[:MANY]


# -- no job is late --


async def test_a_higher_queue_comes_first(redis_url: str, redis: Any) -> None:
    """What is pushed while a lower queue is busy is taken next, once its change is told."""
    async with held(redis_url, redis, NAMES[-1]) as (work, go_on):
        hot = work.worker.pool.hot
        before = hot.told
        for name in (NAMES[7], NAMES[1500], NAMES[2]):
            await push(redis, name)
        await wait_for(lambda: hot._told_at.get(NAMES[2], 0) > before)
        go_on.set()
        await work.until(6)
        last = NAMES[-1]
        assert queues_of(work) == [last, NAMES[2], NAMES[7], NAMES[1500], last, last]


async def test_sub_queues_and_exclusions_keep_their_order(redis_url: str, redis: Any) -> None:
    """`default^5` before `default`, and nothing of what is excluded."""
    await know(redis)
    await redis.set("resque:pause-all-workers", "true")
    async with working(redis_url, {"no_op": no_op}, "t19*,*,!t00*,!x", **LAZY) as work:
        await work.until_quiet()
        await push(redis, "x", NAMES[3], "t0500^-2", "t0500", "t0500^5", "t1999", NAMES[400])
        await redis.delete("resque:pause-all-workers")
        await work.until(5)
        await work.until_quiet()
        assert queues_of(work) == ["t1999", "t0400", "t0500^5", "t0500", "t0500^-2"]
    assert await redis.llen("resque:queue:x") == await redis.llen("resque:queue:t0003") == 1


@pytest.mark.parametrize("named_first", [True, False])
async def test_a_new_queue_is_seen_at_once(redis_url: str, redis: Any, named_first: bool) -> None:
    """Whatever is written first, the name or the job."""
    await know(redis)
    async with working(redis_url, {"no_op": no_op}, "*", **LAZY) as work:
        for ended, name in enumerate(("a", "new", "z"), 1):
            await work.until_quiet()
            calls = [redis.sadd("resque:queues", name), redis.rpush(f"resque:queue:{name}", JOB)]
            for call in calls if named_first else reversed(calls):
                await call
            await work.until(ended)


async def test_no_push_falls_between(redis_url: str, redis: Any) -> None:
    """Pushes at any moment of becoming idle are all run, with no poll to help."""
    await know(redis)
    async with working(redis_url, {"no_op": no_op}, "*", slots=3, **LAZY) as work:
        for number in range(300):
            await push(redis, NAMES[number * 331 % 2000], NAMES[number % 3])
            await asyncio.sleep(0.0003 * (number % 5))
        await work.until(600)


async def test_lost_messages_cost_a_heartbeat_at_most(redis_url: str, redis: Any) -> None:
    """One job, jobs in more queues than a heartbeat tells of, and a new queue."""
    await know(redis)
    async with working(
        redis_url, {"no_op": no_op}, "*", timeout_s=60, heartbeat_s=0.2, slots=5
    ) as work:
        await work.until_quiet()
        deafen(work)
        await push(redis, NAMES[-1])
        await work.until(1)
        await push(redis, *NAMES[500:1000])
        await work.until(501)
        await push(redis, "new")
        await work.until(502)


async def test_after_the_tracking_connection_is_killed(redis_url: str, redis: Any) -> None:
    """What was pushed until it is made anew is found then."""
    await know(redis)
    async with working(redis_url, {"no_op": no_op}, "*", **LAZY) as work:
        await work.until_quiet()
        await redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await push(redis, NAMES[-1], NAMES[0], "new")
        await work.until(3)


async def test_where_tracking_is_forbidden_it_polls(
    redis_server: PrivateServer, redis: Any
) -> None:
    """Each poll looks at all."""
    await know(redis)
    await redis.execute_command(
        "ACL", "SETUSER", "plain", "on", ">pw", "~*", "&*", "+@all", "-client", "+client|id"
    )
    try:
        url = redis_server.url.replace("unix://", "unix://plain:pw@")
        async with working(url, {"no_op": no_op}, "*", timeout_s=0.1, heartbeat_s=60) as work:
            await wait_for(lambda: "polling every 0.1 s" in work.errors)
            await push(redis, NAMES[-1])
            await work.until(1)
            await push(redis, NAMES[0], "new")
            await work.until(3)
    finally:
        await redis.execute_command("ACL", "DELUSER", "plain")


async def test_queues_that_others_empty_are_left(redis_url: str, redis: Any) -> None:
    """The worker looks once, and then asks for nothing any more."""
    async with held(redis_url, redis, NAMES[-1]) as (work, go_on):
        await push(redis, *NAMES[:300])
        await redis.delete(*(f"resque:queue:{name}" for name in NAMES))
        go_on.set()
        await work.until(1)
        await work.until_quiet()
        assert list(work.worker.pool.hot.next()) == []
        assert queues_of(work) == [NAMES[-1]]


async def test_what_is_pushed_while_all_are_paused_runs_after(redis_url: str, redis: Any) -> None:
    """Nothing that was told meanwhile is forgotten."""
    await know(redis)
    async with working(redis_url, {"no_op": no_op}, "*", **LAZY) as work:
        await work.until_quiet()
        await redis.set("resque:pause-all-workers", "true")
        await wait_for(lambda: work.worker.pool.paused)
        await push(redis, NAMES[-1], NAMES[0])
        await work.until_quiet()
        assert work.ended == 0
        await redis.delete("resque:pause-all-workers")
        await work.until(2)
        assert queues_of(work) == [NAMES[0], NAMES[-1]]


async def test_a_queue_that_is_no_list_hides_no_other(redis_url: str, redis: Any) -> None:
    """It is told once, and works again when it is mended."""
    await know(redis)
    await redis.set(f"resque:queue:{NAMES[0]}", "text")
    async with working(redis_url, {"no_op": no_op}, "*", **LAZY) as work:
        await work.until_quiet()
        await push(redis, NAMES[-1])
        await work.until(1)
        await redis.delete(f"resque:queue:{NAMES[0]}")
        await push(redis, NAMES[0])
        await work.until(2)
        assert len(work.args("error")) == 1


async def test_a_pause_is_told_when_no_queue_was_left_out(redis_url: str, redis: Any) -> None:
    """What the last job pushes is found before, also where Redis' message is late: `--burst` ends then."""
    seen: list[int] = []

    async def more() -> None:
        await push(redis, *(NAMES[n] for n in (3, 1999)))

    await know(redis)
    async with working(
        redis_url, {"no_op": no_op, "more": more}, "*", events=("success", "pause", "job"), **LAZY
    ) as work:
        await work.until_quiet()
        deafen(work)
        work.told.clear()
        work.worker.on("pause", lambda *_: seen.append(work.ended))
        await redis.rpush(f"resque:queue:{NAMES[9]}", b'{"class":"more","args":[]}')
        work.worker.pool.queues_changed([NAMES[9]])
        await wait_for(lambda: bool(seen))
    assert seen[0] == 3


# -- the parts --


async def test_a_beat_tells_which_queues_have_jobs(redis_url: str, redis: Any) -> None:
    """A limited number of them, in the order of priority, and whether there may be others."""
    store = Store(RedisOptions(redis_url))
    vitals = Vitals("i", (), "s", tuple(NAMES))
    try:
        assert (await beat(store, vitals)).work == ()
        await push(redis, NAMES[-1], NAMES[150])
        found = await beat(store, vitals)
        assert (found.work, found.more_work) == ((NAMES[150], NAMES[-1]), False)
        await push(redis, *NAMES)
        found = await beat(store, vitals)
        assert (found.work, found.more_work) == (tuple(NAMES[:100]), True)
    finally:
        await store.close()


def test_a_change_that_is_told_meanwhile_counts() -> None:
    """An exchange that was under way may have looked before it."""
    hot = HotQueues()
    hot.follow(NAMES)
    hot.emptied(NAMES, hot.told)
    assert hot.tell([NAMES[5], NAMES[3], "unknown"])
    sent, told = hot.next(), hot.told
    assert sent == [NAMES[3], NAMES[5]]
    hot.tell([NAMES[5]])
    assert hot.emptied(sent, told)
    assert hot.next() == [NAMES[5]]
    assert not hot.emptied(hot.next(), hot.told)
    assert not hot.tell(["unknown"])


def test_new_names_keep_what_is_hot() -> None:
    """Those that went are forgotten, new ones are looked at; few are all named."""
    hot = HotQueues()
    hot.follow(NAMES)
    hot.emptied(NAMES, hot.told)
    hot.tell([NAMES[5], NAMES[9]])
    hot.follow(["z", *NAMES[6:], "a"])
    assert hot.next() == ["z", NAMES[9], "a"]
    hot.follow(["b", "c"])
    assert hot.next() == ["b", "c"]
    hot.follow(NAMES)
    hot.tell_all()
    assert hot.next() == NAMES
    assert hot.next() == NAMES[:MANY]
    hot.emptied(NAMES[:1], hot.told)
    assert hot.next() == NAMES[1 : MANY + 1]
