"""The price of everything is round trips: they are counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from resqpy import Queue, Resque
from resqpy.base import codec
from resqpy.base.reading import JobFilter
from resqpy.engine.inspect.failed_jobs import failed_of
from resqpy.engine.inspect.walking import WINDOW, DelayedSearch, search_queue
from resqpy.store import delayed, sweep
from tests.support.waiting import wait_for
from tests.support.working import working


async def test_enqueueing_is_one_round_trip(redis_url: str, redis: Any) -> None:
    """One job, a thousand jobs: one each, and two commands for each call; no script. Of a thousand callers at
    once, the first goes ahead where nobody asked with the one before, then all others.
    """
    async with Queue(redis_url) as queue:
        await queue.enqueue("q", "C", [0])
        await redis.config_resetstat()
        trips = queue.store.line.round_trips
        await queue.enqueue("q", "C", [1])
        assert queue.store.line.round_trips == trips + 1
        await queue.enqueue_many([("q", "C", [n]) for n in range(1000)])
        assert queue.store.line.round_trips == trips + 2
        await asyncio.gather(*(queue.enqueue("q", "C", [n]) for n in range(500)))
        assert queue.store.line.round_trips == trips + 4
        await asyncio.gather(*(queue.enqueue("q", "C", [n]) for n in range(500)))
        assert queue.store.line.round_trips == trips + 5
        await queue.enqueue_many([(f"q{n % 2}", "C", [n]) for n in range(1000)])
        assert queue.store.line.round_trips == trips + 6
        stats = await redis.info("commandstats")
        calls = {name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()}
        del calls["config|resetstat"]
        assert calls == {"sadd": 1004, "rpush": 1004, "multi": 1, "exec": 1}
    assert await redis.llen("resque:queue:q") == 2002


async def test_a_look_among_many_jobs(
    redis_url: str, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other jobs cost a round trip for each page, and none of them is read; what is found is read once."""
    read: list[bytes] = []

    def counted(really: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
        def count(raw: bytes) -> Any:
            read.append(raw)
            return really(raw)

        return count

    for name in ("read_strict", "decode_lenient"):
        monkeypatch.setattr(codec, name, counted(getattr(codec, name)))
    pages, first = 3, 4_000_000_000
    seconds = [first + n for n in range(pages * delayed.PAGE)]
    await redis.zadd("resque:delayed_queue_schedule", {str(each): each for each in seconds})
    pipe = redis.pipeline(transaction=False)
    for each in seconds:
        pipe.rpush(
            f"resque:delayed:{each}", f'{{"class":"Mail","queue":"q","args":[{{"n":{each}}}]}}'
        )
    pipe.rpush("resque:queue:q", *['{"class":"Mail","args":[{"n":18}]}'] * pages * WINDOW)
    entry = '{"payload":{"class":"Mail","args":[]},"exception":"E"}'
    pipe.rpush("resque:failed", *[entry] * pages * sweep.PAGE)
    await pipe.execute()
    async with Resque(redis_url) as resque:
        line, store = resque.store.line, resque.store
        await resque.now_ms()

        for look, trips in (
            (lambda: resque.scheduled_at("q", "Mail", [{"n": 999_999}]), 1 + pages + 1),
            (lambda: resque.del_delayed("q", "Mail", [{"n": 999_999}]), 2 + pages + 1),
            (lambda: DelayedSearch(store, JobFilter("Other")).everywhere(), pages + 1),
            (lambda: search_queue(store, "q", JobFilter("Other")), 2 + pages),
            (lambda: failed_of(resque, "Other"), 3 + pages),
        ):
            before = line.round_trips
            await look()
            assert line.round_trips - before == trips
        assert read == []
        found = await search_queue(store, "q", JobFilter("Mail"))
        found_later = await DelayedSearch(store, JobFilter("Mail")).everywhere()
        assert len(read) == found.found + found_later.found == pages * (WINDOW + delayed.PAGE)


async def test_all_slots_are_served_in_one_round_trip(redis_url: str, redis: Any) -> None:
    """N ended and N taken: one exchange, however the jobs end. Only larger waves of jobs that wait
    are reported in parts, on purpose: see `resqpy.engine.worker.reporting.part`.
    """
    gates = [asyncio.Event() for _ in range(3)]
    rounds = [0, 0, 0]

    async def wait(turn: int, number: int) -> None:
        rounds[turn] += 1
        await gates[turn].wait()
        if number % 2:
            raise ValueError(number)

    slots = 8
    async with Queue(redis_url) as queue:
        await queue.enqueue_many([("q", "wait", [n // slots, n]) for n in range(3 * slots)])
        async with working(
            redis_url, {"wait": wait}, "q", slots=slots, timeout_s=60, heartbeat_s=60
        ) as work:
            line = work.worker.pool.reporting.exchange.line
            await wait_for(lambda: rounds[0] == slots)
            await work.until_quiet()
            for turn in range(2):
                before = line.round_trips
                gates[turn].set()
                await wait_for(lambda turn=turn: rounds[turn + 1] == slots)  # type: ignore[misc]
                assert line.round_trips == before + 1
                await work.until_quiet()
            gates[2].set()
            await work.until(3 * slots)
    assert len(work.args("failure")) == 12


async def test_a_drain_costs_one_round_trip_for_a_slotful(redis_url: str, redis: Any) -> None:
    """A thousand jobs on fifty slots: about twenty exchanges, not thousands.

    On a busy machine no-op jobs seem to last, and are reported eight at a time: see `part`.
    """

    async def no_op(_: int) -> None:
        return

    async with Queue(redis_url) as queue:
        await queue.enqueue_many([("q", "no_op", [n]) for n in range(1000)])
        async with working(redis_url, {"no_op": no_op}, "q", slots=50) as work:
            await work.until(1000)
            assert work.worker.pool.reporting.exchange.line.round_trips <= 1000 // 8
