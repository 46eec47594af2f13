"""At most so many jobs of a task begin in a time, by Redis' clock; who waits for its turn is woken at it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from resqpy import Limit, Queue, Rate, Resque, UsageError
from resqpy.base.limits import key_text
from resqpy.base.model import KeyLimit
from resqpy.framework.api.limit import LimitHandle
from resqpy.store import limits, queues
from tests.engine.test_limits import LAZY, SLOTS, Desk
from tests.engine.test_task_limits import desk, ends, numbers, put, raw
from tests.support.clocks import WrongClock
from tests.support.waiting import wait_for
from tests.support.working import working

__all__ = ["desk"]

HOUR = 3_600_000
READY, USED = "resque:resqpy:limits:ready:q", "resque:resqpy:limits:used:"


async def test_a_burst_and_then_one_by_one(desk: Desk, redis: Any) -> None:
    """What is over the rate is parked, with the time of its turn, which one process is told."""
    await limits.announce(desk.store, {"C": [Rate(1, per=timedelta(hours=1), burst=2)]})
    await put(redis, *map(raw, range(4)), raw(7, "D"))
    desk.exchange._incarnation = "one"
    await redis.hset("resque:resqpy:gates", mapping={"one": 1, "two": 1})

    first = await desk([], SLOTS, ["q"])
    again = await desk([], SLOTS[3:], ["q"])
    desk.exchange._incarnation = "two"
    other = await desk([], SLOTS[3:], ["q"])

    assert (numbers(first), numbers(again), numbers(other)) == ([0, 1, 7], [], [])
    assert first.wake_ms is not None
    assert HOUR - 60_000 < first.wake_ms <= HOUR + 1
    assert again.wake_ms is not None
    assert other.wake_ms is None
    assert (again.nothing, other.nothing) == (
        False,
        True,
    )  # a worker that ends when all is done waits
    assert (
        await redis.exists("resque:resqpy:limits:slots:C:rate", "resque:resqpy:limits:holds") == 0
    )

    await redis.delete(f"{USED}C:rate", "resque:resqpy:limits:wakes:q")  # as if hours had passed
    await redis.zadd(READY, {"C:rate": 1})
    later = await desk([*ends(first)[:1]], SLOTS[3:], ["q"])
    assert (numbers(later), later.wake_ms) == ([2, 3], None)
    assert await queues.parked(desk.store) == []
    assert 0 < await redis.pttl(f"{USED}C:rate") <= 2 * HOUR


async def test_a_rate_for_each_key(desk: Desk, redis: Any) -> None:
    """None delays another; beside a limit, a job runs when both let it, and uses no rate before."""
    both: list[Limit | Rate] = [Limit(1, per="a"), Rate(1, per=HOUR, burst=2, key="a")]
    await limits.announce(desk.store, {"C": both})
    await put(redis, raw(0, a=1), raw(1, a=1), raw(2, a=1), raw(3, a=2), raw(4, a=1))

    taken = await desk([], SLOTS, ["q"])
    assert (numbers(taken), taken.wake_ms) == ([0, 3], None)
    taken = await desk(ends(taken), SLOTS, ["q"])
    assert (numbers(taken), taken.wake_ms) == ([1], None)
    taken = await desk(ends(taken), SLOTS, ["q"])
    assert numbers(taken) == []
    assert taken.wake_ms is not None
    parked = {each.key: each.count for each in await queues.parked(desk.store)}
    assert sum(parked.values()) == 2
    assert parked["C:rate:a=1"] >= 1


async def test_a_rate_that_is_changed(desk: Desk, redis: Any, redis_url: str) -> None:
    """By hand, to another or to a limit; what waits is looked at at once."""
    await limits.announce(desk.store, {"C": [Rate(1, per=HOUR)]})
    await put(redis, *map(raw, range(4)))
    first = await desk([], SLOTS, ["q"])
    async with Resque(redis_url) as resque:
        assert await resque.set_limit("C:rate", Rate(1, per=1)) == Rate(1, per=HOUR)
        found = (await resque.limits())["C:rate"]
        assert (found.most, found.rate, found.parked) == (None, Rate(1, per=1), {"q": 3})
        await redis.delete(f"{USED}C:rate")
        assert numbers(await desk(ends(first), SLOTS, ["q"])) == [1]
        assert await resque.set_limit("C:rate", 0) == Rate(1, per=1)
        assert numbers(await desk([], SLOTS[4:], ["q"])) == []
        assert await resque.set_limit("C:rate", None) == 0
        await redis.delete(f"{USED}C:rate")
        assert numbers(await desk([], SLOTS[4:], ["q"])) == [2]
        await limits.announce(resque.store, {"C": [Limit(9)]})
        assert numbers(await desk([], SLOTS[6:], ["q"])) == [3]


async def test_a_key_is_shut_for_a_while(desk: Desk, redis: Any, redis_url: str) -> None:
    """A service said when to come again: none begins before, then all go on; a shorter time changes nothing."""
    await limits.announce(desk.store, {"C": [Limit(5, name="api")], "D": [Limit(5, name="api")]})
    async with Resque(redis_url) as resque:
        until = await resque.shut_limit("api", HOUR)
        assert await resque.shut_limit("api", timedelta(minutes=1)) == until
        await put(redis, raw(0), raw(1, "D"))
        shut = await desk([], SLOTS, ["q"])
        assert (numbers(shut), (await resque.limits())["api"].shut_ms) == ([], until)
        assert shut.wake_ms is not None
        assert await redis.zscore(READY, "api") == until
        await redis.hset("resque:resqpy:limits", "{shut}api", "1")
        await redis.zadd(READY, {"api": 1})
        assert numbers(await desk([], SLOTS, ["q"])) == [0, 1]
        assert await redis.hexists("resque:resqpy:limits", "{shut}api") == 0
        assert (await resque.limits())["api"] == KeyLimit(
            5, tuple(sorted(each.worker_id for each in SLOTS[:2])), tasks=("C", "D")
        )


async def test_a_shut_key_is_opened(desk: Desk, redis: Any, redis_url: str) -> None:
    """What was parked has a turn at once; who was not shut is said."""
    await limits.announce(desk.store, {"C": [Limit(5, name="api")]})
    async with Resque(redis_url) as resque:
        until = await resque.shut_limit("api", HOUR)
        await put(redis, raw(0))
        assert numbers(await desk([], SLOTS, ["q"])) == []
        assert await resque.shut_limit("api", None) == until
        assert numbers(await desk([], SLOTS, ["q"])) == [0]
        assert await resque.shut_limit("api", None) == 0


@pytest.mark.parametrize("key", ["{shut}api", "{shut}api=1"])
async def test_a_name_and_its_key_are_shut(desk: Desk, redis: Any, key: str) -> None:
    """Whichever ends later holds, for jobs and for places outside of them; what is over is deleted."""
    limit = [Limit(5, per="a", name="api")]
    await limits.announce(desk.store, {"C": limit})
    until = (await desk.store.time_us()) // 1000 + HOUR
    both = {"{shut}api": "1", "{shut}api=1": "1", key: str(until)}
    await redis.hset("resque:resqpy:limits", mapping=both)
    await put(redis, raw(0, a=1))

    assert (await limits.limits(desk.store))[key.removeprefix("{shut}")].shut_ms == until
    assert numbers(await desk([], SLOTS, ["q"])) == []
    assert await redis.zscore(READY, "api=1") == until
    assert not await limits.take_slot(desk.store, "api=1", "slot:x", 1000)
    assert (await limits.limits(desk.store))["api=1"].shut_ms == until
    fields = await redis.hkeys("resque:resqpy:limits")
    assert [each for each in fields if each.startswith(b"{shut}")] == [key.encode()]


@pytest.mark.parametrize(
    "value", ["a b", "é", "7", 7, 7.0, -3, 2.5, 0.1, True, "x" * 200, "a\n", "\x7f", 2**53 - 1, ""]
)
async def test_a_key_by_its_value(desk: Desk, redis: Any, value: Any) -> None:
    """Python writes it as the exchange does."""
    await limits.announce(desk.store, {"C": [Limit(0, per="a")]})
    await put(redis, raw(0, a=value))
    await desk([], SLOTS, ["q"])
    assert [each.key for each in await queues.parked(desk.store)] == [f"C:a={key_text(value)}"]


@pytest.mark.parametrize("value", [2**53, None, [1], float("nan")])
def test_no_key(value: Any) -> None:
    """What Redis could not tell from others is refused."""
    with pytest.raises(UsageError, match="makes no key"):
        key_text(value)


async def test_junk_where_rates_are_kept(desk: Desk, redis: Any) -> None:
    """It stops nothing."""
    await limits.announce(desk.store, {"C": [Rate(1, per=HOUR)]})
    await redis.rpush(f"{USED}C:rate", "x")
    await redis.set(READY, "x")
    await put(redis, raw(0), raw(1))
    assert numbers(await desk([], SLOTS, ["q"])) == [0]


@pytest.mark.parametrize(
    "made",
    [
        lambda: Rate(0),
        lambda: Rate(1.5),  # type: ignore[arg-type]
        lambda: Rate(1, per=0),
        lambda: Rate(1, per=timedelta(days=400)),
        lambda: Rate(1, burst=0),
        lambda: Rate(1, key=""),
        lambda: Rate(1, name="a=b"),
    ],
)
def test_rates_that_are_none(made: Any) -> None:
    """They are refused."""
    with pytest.raises(UsageError):
        made()


@pytest.mark.parametrize("step_ms", [0, HOUR, -HOUR])
async def test_workers_keep_a_rate(redis_url: str, redis: Any, step_ms: int) -> None:
    """In two processes, without polling: about two exchanges a job; none begins before its time, though the clock
    of their machine steps with each job.
    """
    begun: list[float] = []
    clock = WrongClock(0)

    async def job(_: Any) -> None:
        clock.ahead_ms += step_ms
        seconds, micros = await redis.time()
        begun.append(seconds + micros / 1e6)

    jobs = {"C": {"perform": job, "limit": Rate(50)}}
    async with (
        Queue(redis_url) as queue,
        working(redis_url, jobs, "q", slots=3, clock=clock, **LAZY) as one,
        working(redis_url, jobs, "q", slots=3, clock=clock, **LAZY) as other,
    ):
        await one.until_quiet()
        await other.until_quiet()
        seconds, micros = await redis.time()
        await redis.config_resetstat()
        await queue.enqueue_many([("q", "C", [n]) for n in range(40)])
        await wait_for(lambda: len(begun) == 40)
        calls = (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"]

    start = seconds + micros / 1e6
    assert [n for n, at in enumerate(sorted(begun)) if at < start + n / 50] == []
    assert calls < 40 * 4


async def test_a_full_process_leaves_the_turn_to_another(redis_url: str, redis: Any) -> None:
    """Where it was the one that was told."""
    go_on, done = asyncio.Event(), list[int]()

    async def slow(_: Any) -> None:
        await go_on.wait()

    async def quick(number: int) -> None:
        done.append(number)

    jobs = {"S": slow, "C": {"perform": quick, "limit": Rate(1, per=300, burst=1)}}
    async with Queue(redis_url) as queue, working(redis_url, jobs, "q", **LAZY) as first:
        await queue.enqueue_many([("q", "C", [n]) for n in range(2)])
        await wait_for(lambda: done == [0])
        await queue.enqueue("q", "S", [0])  # its only slot
        await wait_for(lambda: first.worker.pool.slots.busy)
        async with working(redis_url, jobs, "q", **LAZY):
            await wait_for(lambda: done == [0, 1])
            go_on.set()


async def test_a_place_outside_of_jobs(desk: Desk, redis: Any, monkeypatch: Any) -> None:
    """Jobs and blocks share the limit; a place that is given back, or not renewed, goes to a parked job."""

    class Tasks:
        inspector = SimpleNamespace(store=desk.store)

    handle = LimitHandle(lambda: Tasks, "erp")  # type: ignore[arg-type,return-value]
    with pytest.raises(UsageError, match="erp"):
        async with handle.slot():
            pass
    await limits.announce(desk.store, {"C": [Limit(2, name="erp")], "D": [Rate(9, name="r")]})
    with pytest.raises(UsageError, match="rate"):
        async with LimitHandle(lambda: Tasks, "r").slot():  # type: ignore[arg-type,return-value]
            pass
    async with handle.slot():
        await put(redis, raw(0), raw(1))
        first = await desk([], SLOTS, ["q"])
        assert numbers(first) == [0]
        assert len((await limits.limits(desk.store))["erp"].running) == 2
        with pytest.raises(TimeoutError):
            async with handle.slot(within=100):
                pass
        assert await limits.parked_now(desk.store) != []
        assert await redis.scard("resque:resqpy:limits:slots:erp") == 2
    assert numbers(await desk([], SLOTS[2:], ["q"])) == [1]
    await desk(ends(first), [], ["q"])
    async with handle.slot():
        await put(redis, raw(2))
        assert numbers(await desk([], SLOTS[5:], ["q"])) == []
        for lease in await redis.keys("resque:resqpy:limits:lease:*"):
            await redis.delete(lease)  # its process is dead
        await limits.give_turn(
            desk.store, [each for each, _ in await limits.parked_now(desk.store)]
        )
        assert numbers(await desk([], SLOTS[5:], ["q"])) == [2]
    assert await redis.keys("resque:resqpy:limits:lease:*") == []
