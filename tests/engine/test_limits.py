"""At most so many jobs of a queue run at once, whoever runs them, whatever happens to their workers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from resqpy import Queue, Resque, UsageError
from resqpy.base.model import RunningLimit, WorkerId
from resqpy.store import limits
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions
from resqpy.store.exchange import EndCommands, Exchange, Exchanged, SlotRef
from tests.support.waiting import wait_for
from tests.support.working import working

LAZY: dict[str, Any] = {"timeout_s": 60, "heartbeat_s": 60}
SLOTS = [SlotRef.of(WorkerId(f"h+7-{n}-abc", "resqpy", "q"), str(n)) for n in range(10)]
HOLDERS = "resque:resqpy:limits:holders:q"


def raw(number: int, queue: str = "q") -> bytes:
    """A job's bytes."""
    return b'{"class":"C","queue":"%b","args":[%d]}' % (queue.encode(), number)


class Desk:
    """Exchanges of some slots."""

    def __init__(self, url: str) -> None:
        self.store = Store(RedisOptions(url))
        self.exchange = Exchange(self.store)
        self.calls = 0

    async def __call__(self, *args: Any, **more: Any) -> Exchanged:
        """One exchange: ends, free slots, queues."""
        self.calls += 1
        run_at = f"2026-01-01T00:00:00.{self.calls:06d}Z"
        return await self.exchange.run(*args, run_at, **more)


@pytest.fixture
async def desk(redis_url: str, redis: Any) -> AsyncIterator[Desk]:
    """With ten jobs in a queue of which two may run at once."""
    made = Desk(redis_url)
    await redis.sadd("resque:queues", "q")
    await redis.rpush("resque:queue:q", *map(raw, range(10)))
    async with Resque(redis_url) as resque:
        assert await resque.limit_running("q", 2) is None
    yield made
    await made.exchange.close()
    await made.store.close()


def numbers(exchanged: Exchanged) -> list[int]:
    """The jobs that were taken."""
    return [json.loads(each.raw or b"")["args"][0] for each in exchanged.taken]


# -- in the step that takes a job --


async def test_no_more_are_taken_than_may_run(desk: Desk, redis: Any) -> None:
    """By none of the processes; the rest stays in the queue, in its order, and other queues are worked."""
    await redis.rpush("resque:queue:r", raw(77, "r"))
    first = await desk([], SLOTS[:5], ["q", "r"])
    second = await desk([], SLOTS[5:], ["q"])

    assert (numbers(first), numbers(second)) == ([0, 1, 77], [])
    assert (first.full, second.nothing, second.looked) == (False, True, 1)
    assert await redis.lrange("resque:queue:q", 0, -1) == [raw(n) for n in range(2, 10)]
    assert await redis.smembers(HOLDERS) == {each.worker_id.encode() for each in SLOTS[:2]}


async def test_the_place_goes_on_in_the_step_that_ends_a_job(desk: Desk, redis: Any) -> None:
    """Whether its end is reported, or its record replaced; to the slot that had it, or to another."""
    (one, two) = (await desk([], SLOTS[:2], ["q"])).taken
    failed = EndCommands(
        SLOTS[0].worker_id, one.claim.beginning, "f", [("RPUSH", "resque:failed", "x")]
    )

    after = await desk([failed], [SLOTS[3]], ["q"])
    assert numbers(after) == [2]
    succeeded = {two.claim.beginning: [SLOTS[1]], after.taken[0].claim.beginning: [SLOTS[3]]}
    again = await desk([], SLOTS[4:8], ["q"], succeeded=succeeded)

    assert (numbers(again), again.void) == ([3, 4], [])
    assert await redis.scard(HOLDERS) == 2
    assert await redis.get("resque:stat:processed") == b"2"
    assert len(await redis.keys("resque:worker:*")) == 2


async def test_a_lost_reply_takes_nothing_twice(desk: Desk, redis: Any) -> None:
    """What was taken is found again, and holds its places."""
    taken = await desk([], SLOTS[:3], ["q"])
    found = await desk([], SLOTS[:3], [], recover=True)
    more = await desk([], SLOTS[3:], ["q"])

    assert [each.raw for each in found.taken] == [each.raw for each in taken.taken]
    assert (numbers(more), await redis.scard(HOLDERS)) == ([], 2)


async def test_a_late_end_frees_no_place(desk: Desk, redis: Any) -> None:
    """It is not that of the job on the record."""
    (one, _) = (await desk([], SLOTS[:2], ["q"])).taken
    late = EndCommands(SLOTS[0].worker_id, one.claim.beginning.replace(b"2026", b"2025"), "p", [])

    assert (await desk([late], [], ["q"])).void == [0]
    assert await redis.scard(HOLDERS) == 2


async def test_a_record_that_somebody_took_away(desk: Desk, redis: Any) -> None:
    """Ruby's pruning, or a rescue: its place is free for the next who looks, if a look is due."""
    await desk([], SLOTS[:2], ["q"])
    await redis.delete(f"resque:worker:{SLOTS[0].worker_id}")
    await redis.set(f"resque:worker:{SLOTS[1].worker_id}", '{"queue":"other","run_at":"x"}')
    await redis.sadd(HOLDERS, "gone")

    assert numbers(await desk([], SLOTS[4:], ["q"])) == [2, 3]
    assert await redis.smembers(HOLDERS) == {each.worker_id.encode() for each in SLOTS[4:6]}
    await redis.delete(f"resque:worker:{SLOTS[4].worker_id}")
    assert numbers(await desk([], SLOTS[6:], ["q"])) == []  # it was checked in this very moment
    await redis.delete("resque:resqpy:limits:checked:q")
    assert numbers(await desk([], SLOTS[6:], ["q"])) == [4]


async def test_sub_queues_count_as_their_queue(desk: Desk, redis: Any) -> None:
    """In the order of priority."""
    await redis.rpush("resque:queue:q^5", raw(50, "q^5"))
    names = ["q^5", "q", "q^-1"]

    assert numbers(await desk([], SLOTS[:5], names)) == [50, 0]
    await redis.rpush("resque:queue:q^-1", raw(51, "q^-1"))
    assert numbers(await desk([], SLOTS[5:], names)) == []


async def test_what_runs_already_counts(desk: Desk, redis: Any, redis_url: str) -> None:
    """Also jobs of sub-queues and of Ruby's workers; lowered, nobody is stopped."""
    async with Resque(redis_url) as resque:
        assert await resque.limit_running("q", None) == 2
        ids = [each.worker_id for each in SLOTS[:3]]
        await redis.sadd("resque:workers", *ids, "ruby:1:q", "ruby:2:qq")
        assert len((await desk([], SLOTS[:3], ["q"])).taken) == 3
        await redis.set("resque:worker:ruby:1:q", '{"queue":"q^3","run_at":"x","payload":{}}')
        await redis.set("resque:worker:ruby:2:qq", '{"queue":"qq","run_at":"x","payload":{}}')

        assert await resque.limit_running("q", 1) is None
        limits = await resque.running_limits()
        assert limits == {"q": RunningLimit(1, tuple(sorted([*ids, "ruby:1:q"])))}
        assert numbers(await desk([], SLOTS[4:], ["q"])) == []
        assert await resque.limit_running("q", 5) == 1
        assert numbers(await desk([], SLOTS[4:], ["q"])) == [3]


async def test_none_may_run(desk: Desk, redis_url: str) -> None:
    """A limit of 0, until it is another one."""
    async with Resque(redis_url) as resque:
        await resque.limit_running("q", 0)
        assert numbers(await desk([], SLOTS, ["q"])) == []
        await resque.limit_running("q", None)
        assert numbers(await desk([], SLOTS, ["q"])) == [*range(10)]
        assert await resque.running_limits() == {}


@pytest.mark.parametrize("junk", [{"q": "many"}, {"q": ""}, {"other": "1"}])
async def test_limits_that_somebody_else_wrote(
    desk: Desk, redis: Any, junk: dict[str, str]
) -> None:
    """What is no number is no limit."""
    await redis.delete("resque:resqpy:limits")
    await redis.hset("resque:resqpy:limits", mapping=junk)

    assert len(numbers(await desk([], SLOTS, ["q"]))) == 10


async def test_a_limit_by_config_counts_what_runs(desk: Desk, redis: Any) -> None:
    """As one that is set by hand does: three run already, and no more begin."""
    async with Resque(desk.store.options.url) as resque:
        await resque.limit_running("q", None)
    await desk([], SLOTS[:3], ["q"])
    await redis.rpush(f"resque:worker:{SLOTS[9].worker_id}", "x")
    await redis.sadd("resque:workers", *(each.worker_id for each in [*SLOTS[:3], SLOTS[9]]))
    await limits.announce(desk.store, {}, {"q": 3})

    assert numbers(await desk([], SLOTS[3:9], ["q"])) == []
    running = (await limits.running_limits(desk.store))["q"].running
    assert running == tuple(sorted(each.worker_id for each in SLOTS[:3]))


async def test_the_config_of_workers(desk: Desk, redis: Any, redis_url: str) -> None:
    """It holds unless another was set by hand, and again when that is removed."""
    task = Counted()
    async with Resque(redis_url) as resque:
        await resque.limit_running("q", None)
        options = {"slots": 9, "running_limits": {"q": 3}, **LAZY}
        async with working(redis_url, {"C": task}, "q", **options) as w:
            await w.until_quiet()
            assert (task.now, (await resque.running_limits())["q"].most) == (3, 3)
            assert await resque.limit_running("q", 4) == 3
            await wait_for(lambda: task.now == 4)
            assert await resque.limit_running("q", None) == 4
            assert (await resque.running_limits())["q"].most == 3
            assert await resque.limit_running("q", None) == 3
            await wait_for(lambda: task.now == 9)
            assert await resque.running_limits() == {}
            task.go_on.set()


async def test_keys_of_other_kinds(desk: Desk, redis: Any) -> None:
    """Nothing runs where the holders can't be counted; nothing is limited where the limits can't be read."""
    await redis.set(HOLDERS, "x")
    assert numbers(await desk([], SLOTS[:5], ["q"])) == []
    await redis.delete("resque:resqpy:limits")
    await redis.set("resque:resqpy:limits", "x")
    assert numbers(await desk([], SLOTS[:5], ["q"])) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("queue", "most"),
    [
        ("q", -1),
        ("q", 1.5),
        ("q", True),
        ("q", "2"),
        ("q", 10_001),
        ("q^5", 1),
        ('a"b', 1),
        ("a\\b", 1),
        ("", 1),
    ],
)
async def test_limits_that_are_none(redis_url: str, redis: Any, queue: str, most: Any) -> None:
    """They are refused, with what to do."""
    async with Resque(redis_url) as resque:
        with pytest.raises(UsageError):
            await resque.limit_running(queue, most)
    assert await redis.keys("*") == []


# -- by workers --


class Counted:
    """A task that counts how many of it run, and lasts until it may end."""

    def __init__(self) -> None:
        self.now = self.most = self.done = 0
        self.go_on = asyncio.Event()

    async def __call__(self, *_: Any) -> None:
        """Run."""
        self.now += 1
        self.most = max(self.most, self.now)
        await self.go_on.wait()
        await asyncio.sleep(0)
        self.now -= 1
        self.done += 1


async def test_two_processes_together(redis_url: str, redis: Any) -> None:
    """Never more than the limit, at once to the last job, and an idle one learns of what the other leaves."""
    task = Counted()
    async with Resque(redis_url) as resque:
        await resque.limit_running("q", 3)
        await resque.enqueue_many([("q", "C", [n]) for n in range(200)])
        async with (
            working(redis_url, {"C": task}, "q", slots=4, **LAZY) as one,
            working(redis_url, {"C": task}, "q", slots=4, **LAZY) as other,
        ):
            await wait_for(lambda: task.now == 3)
            await one.until_quiet()
            await other.until_quiet()
            assert len((await resque.running_limits())["q"].running) == 3
            task.go_on.set()
            await wait_for(lambda: task.done == 200)
    assert task.most == 3


async def test_who_leaves_a_place_tells_the_others(redis_url: str, redis: Any) -> None:
    """A process that takes no more jobs, and one that takes others first, hand it on."""
    task, other = Counted(), Counted()
    async with (
        Queue(redis_url) as queue,
        working(redis_url, {"C": task}, "q", **LAZY) as leaving,
    ):
        async with Resque(redis_url) as resque:
            await resque.limit_running("q", 1)
        await queue.enqueue_many([("q", "C", [n]) for n in range(2)])
        await wait_for(lambda: task.now == 1)
        async with working(redis_url, {"C": other}, "q", **LAZY) as waits:
            await waits.until_quiet()
            assert other.now == 0
            leaving.worker.pause()
            task.go_on.set()
            await wait_for(lambda: other.now == 1)
            other.go_on.set()
            await waits.until(1)


async def test_it_holds_at_once_and_ends_at_once(redis_url: str, redis: Any) -> None:
    """An idle worker hears of a limit that is raised."""
    task = Counted()
    async with (
        Resque(redis_url) as resque,
        working(redis_url, {"C": task}, "q", slots=9, **LAZY) as w,
    ):
        await resque.limit_running("q", 2)
        await resque.enqueue_many([("q", "C", [n]) for n in range(9)])
        for most, running in ((2, 2), (5, 5), (None, 9)):
            await resque.limit_running("q", most)
            await wait_for(lambda running=running: task.now == running)  # type: ignore[misc]
            await w.until_quiet()
            assert task.now == running
        task.go_on.set()
        await w.until(9)


PROGRAM = """
import asyncio, os, sys
from resqpy import MultiWorker, ScalingOptions, WorkerOptions

async def job(number: int) -> None:
    me = f"{os.getpid()}:{number}"
    await redis.call("SADD", "running", me)
    await redis.call("ZADD", "most", "GT", await redis.call("SCARD", "running"), "most")
    await asyncio.sleep(0.02)
    await redis.call("SREM", "running", me)
    await redis.call("SADD", "done", number)

async def main() -> None:
    global redis
    options = WorkerOptions(heartbeat_s=0.2, rescue_after_s=1.0)
    scaling = ScalingOptions(min_task_processors=4, max_task_processors=4)
    async with MultiWorker(sys.argv[1], {"C": job}, "q", options, scaling) as worker:
        redis = worker.store
        print("ready", flush=True)
        await worker.wait()

asyncio.run(main())
"""


def start(url: str) -> subprocess.Popen[bytes]:
    """A process of workers, once it works."""
    made = subprocess.Popen([sys.executable, "-c", PROGRAM, url], stdout=subprocess.PIPE)
    assert made.stdout is not None
    made.stdout.readline()
    made.stdout.close()
    return made


async def test_killed_processes_leave_no_place_behind(redis_url: str, redis: Any) -> None:
    """All jobs run, never more than may, while processes are killed and replaced."""
    async with Resque(redis_url) as resque:
        await resque.limit_running("q", 3)
        await resque.enqueue_many([("q", "C", [n]) for n in range(300)])

        children = [await asyncio.to_thread(start, redis_url) for _ in range(2)]
        try:
            for done in (50, 150):
                await wait_for(lambda done=done: _reached(redis, done), 60)  # type: ignore[misc]
                killed = children.pop(0)
                os.kill(killed.pid, signal.SIGKILL)
                await asyncio.to_thread(killed.wait)
                gone = f"{killed.pid}:".encode()  # nobody takes their places before the rescue
                for each in await redis.smembers("running"):
                    if each.startswith(gone):
                        await redis.srem("running", each)
                assert len((await resque.running_limits())["q"].running) <= 3
                children.append(await asyncio.to_thread(start, redis_url))
            await wait_for(lambda: _reached(redis, 300), 90)
            assert await redis.zscore("most", "most") == 3
            assert len((await resque.running_limits())["q"].running) <= 3
        finally:
            for child in children:
                child.kill()
                await asyncio.to_thread(child.wait)


async def _reached(redis: Any, count: int) -> bool:
    return bool(await redis.scard("done") >= count)
