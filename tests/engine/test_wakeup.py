"""Idle workers start what anybody pushes, at once, and cost almost nothing."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from redis import Redis

from resqpy import Limit, Queue, RedisOptions, Resque, ScalingOptions, WorkerOptions
from resqpy.embedded import PrivateServer
from resqpy.engine.worker.heartbeat import Vitals, beat
from resqpy.engine.worker.multi_worker import MultiWorker
from resqpy.store.connection.client import Store
from resqpy.store.connection.tracker import PING_EVERY_S
from tests.support.proxy import Proxy
from tests.support.waiting import PATIENCE_S, wait_for
from tests.support.working import Working, working

AT_ONCE_S = 15.0  # on a busy machine; without a wake-up nobody looks earlier than after LAZY
LAZY: dict[str, Any] = {"timeout_s": 60, "heartbeat_s": 60}


async def no_op(*_: Any) -> None:
    """A task."""


async def push(redis: Any, queue: str) -> None:
    """Enqueue as a foreign client does."""
    async with redis.pipeline(transaction=True) as pipe:
        pipe.sadd("resque:queues", queue)
        pipe.rpush(f"resque:queue:{queue}", b'{"class":"no_op","args":[]}')
        await pipe.execute()


async def commands(redis: Any) -> int:
    """How many commands Redis has served."""
    return int((await redis.info("stats"))["total_commands_processed"])


async def silent(redis: Any) -> bool:
    """Whether nobody sends anything for a second."""
    before = await commands(redis)
    await asyncio.sleep(1.0)
    return await commands(redis) - before == 1  # the INFO itself


async def starts_at_once(work: Working, redis: Any, queue: str) -> None:
    """A job that is pushed now runs now."""
    started, before = time.monotonic(), work.ended
    await push(redis, queue)
    await work.until(before + 1)
    assert time.monotonic() - started < AT_ONCE_S


@pytest.mark.parametrize("queues", ["q", "*", "q*,!qx", "other,q"])
async def test_a_foreign_push_is_started_at_once(redis_url: str, redis: Any, queues: str) -> None:
    """Whether the queue is known or not, by name, `*` or glob."""
    async with working(redis_url, {"no_op": no_op}, queues, **LAZY) as work:
        await work.until_quiet()
        await starts_at_once(work, redis, "q")
        await work.until_quiet()
        await starts_at_once(work, redis, "q")


async def test_a_new_queue_is_seen_at_once(redis_url: str, redis: Any) -> None:
    """A queue that did not exist when the worker became idle."""
    await push(redis, "first")
    async with working(redis_url, {"no_op": no_op}, "*", **LAZY) as work:
        await work.until(1)
        for name in ("second", "a:b"):
            await work.until_quiet()
            await starts_at_once(work, redis, name)


async def test_no_push_falls_between(redis_url: str, redis: Any) -> None:
    """Pushes at any moment of becoming idle are all run, with no poll to help."""
    async with working(redis_url, {"no_op": no_op}, "*", slots=3, **LAZY) as work:
        for number in range(300):
            await push(redis, f"q{number % 7}")
            await asyncio.sleep(0.0003 * (number % 5))
        await work.until(300)


async def test_the_pause_key_is_honoured_at_once(redis_url: str, redis: Any) -> None:
    """Set before the start there is no job in the window of the boot; unset, work goes on at once."""
    await redis.set("resque:pause-all-workers", "true")
    await push(redis, "q")
    async with working(redis_url, {"no_op": no_op}, "q", **LAZY) as work:
        await work.until_quiet()
        assert work.ended == 0
        await redis.delete("resque:pause-all-workers")
        await work.until(1, AT_ONCE_S)
        await redis.set("resque:pause-all-workers", "True")
        await push(redis, "q")
        await work.until_quiet()
        assert work.ended == 1
        await redis.set("resque:pause-all-workers", "false")
        await work.until(2, AT_ONCE_S)


async def test_a_queue_is_paused_and_resumed_at_once(redis_url: str, redis: Any) -> None:
    """Also by Ruby's key alone, by its end, and that of a sub-queue by its queue; meanwhile others are worked."""
    async with (
        Resque(redis_url) as resque,
        working(redis_url, {"no_op": no_op}, "*", **LAZY) as work,
    ):
        await work.until_quiet()
        for queue in ("q", "q^5"):
            before = work.ended
            await redis.set("resque:pause:queue:q", "true")
            await push(redis, queue)
            await push(redis, "other")
            await work.until(before + 1, AT_ONCE_S)
            await work.until_quiet()
            assert (work.ended, await redis.llen(f"resque:queue:{queue}")) == (before + 1, 1)
            assert await resque.resume_queue("q")
            await work.until(before + 2, AT_ONCE_S)
        await resque.pause_queue("q", 300)
        await push(redis, "q")
        await work.until(5)
        assert not await redis.exists("resque:pause:queue:q")


async def test_a_paused_queue_keeps_nobody_busy(redis_url: str, redis: Any) -> None:
    """Jobs that wait in it cost an idle worker nothing but its heartbeats."""
    await redis.set("resque:pause:queue:q", "true")
    await push(redis, "q")
    async with working(redis_url, {"no_op": no_op}, "*", timeout_s=0.05, heartbeat_s=60) as work:
        await work.until_quiet()
        await wait_for(lambda: silent(redis))


async def test_after_the_tracking_connection_is_killed(redis_url: str, redis: Any) -> None:
    """It is made anew, and what was pushed meanwhile is found."""
    async with working(redis_url, {"no_op": no_op}, "*", **LAZY) as work:
        for _ in range(2):
            await work.until_quiet()
            await redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            await push(redis, "q")
        await work.until(2, AT_ONCE_S)


async def test_the_heartbeat_finds_work_where_the_wakeup_is_deaf(
    redis_url: str, redis: Any
) -> None:
    """Even with a half-open tracking connection a job, a new queue and the end of a pause are found
    by the next sign of life.
    """
    async with working(redis_url, {"no_op": no_op}, "*", timeout_s=60, heartbeat_s=0.2) as work:
        await work.until_quiet()
        assert work.worker._wakeup is not None
        tracker = work.worker._wakeup.tracker
        tracker._channels = dict.fromkeys(
            tracker._channels, lambda _: None
        )  # deaf, and doesn't know it
        await push(redis, "q")
        await work.until(1)
        await push(redis, "new")
        await work.until(2)
        await redis.set("resque:pause-all-workers", "true")
        await wait_for(lambda: work.worker.pool.paused)
        await push(redis, "new")
        await redis.delete("resque:pause-all-workers")
        await work.until(3)


async def test_where_tracking_is_forbidden_it_polls(
    redis_server: PrivateServer, redis: Any
) -> None:
    """An ACL that forbids CLIENT TRACKING: told once as an error, and work is found by polling."""
    await redis.execute_command(
        "ACL", "SETUSER", "plain", "on", ">pw", "~*", "&*", "+@all", "-client", "+client|id"
    )
    try:
        url = redis_server.url.replace("unix://", "unix://plain:pw@")
        async with working(url, {"no_op": no_op}, "*", timeout_s=0.1, heartbeat_s=60) as work:
            await wait_for(lambda: "polling every 0.1 s" in work.errors)
            await push(redis, "q")
            await work.until(1)
            await push(redis, "new")
            await work.until(2)
        assert len(work.args("error")) == 1
    finally:
        await redis.execute_command("ACL", "DELUSER", "plain")


async def test_a_blocked_loop_does_not_stop_the_heartbeat(redis_url: str, redis: Any) -> None:
    """Signs of life come from a thread of their own."""

    async def block() -> None:
        with Redis.from_url(redis_url) as client:
            before = after = client.hgetall("resque:workers:heartbeat")
            until_s = time.monotonic() + PATIENCE_S
            while after == before and time.monotonic() < until_s:
                time.sleep(0.05)  # noqa: ASYNC251
                after = client.hgetall("resque:workers:heartbeat")
        seen.append((before, after))

    seen: list[Any] = []
    async with (
        Queue(redis_url) as queue,
        working(redis_url, {"block": block}, "q", heartbeat_s=0.1) as work,
    ):
        await wait_for(lambda: work.args("ping"))
        await queue.enqueue("q", "block")
        await work.until(1)
    before, after = seen[0]
    assert list(before) == list(after)
    assert list(before.values()) < list(after.values())


async def test_the_beat_is_what_ruby_writes(redis_url: str, redis: Any) -> None:
    """ISO 8601 by Redis' clock with an offset, at any date."""
    store = Store(RedisOptions(redis_url))
    async with Proxy(redis_url):
        made = await beat(store, Vitals("i", (), "s", ()))
    assert abs(made.time_s - time.time()) < 5
    async with working(redis_url, {}, "q") as work:
        [(_, value)] = (await redis.hgetall("resque:workers:heartbeat")).items()
        seconds, _ = await redis.time()
    from datetime import datetime

    assert 0 <= seconds - datetime.fromisoformat(value.decode()).timestamp() <= 2
    assert work.worker.worker_ids == []
    await store.close()


# -- what it costs --


async def test_an_idle_process_only_beats(redis_url: str, redis: Any) -> None:
    """Beyond its heartbeat an idle worker sends nothing at all."""
    async with working(redis_url, {"no_op": no_op}, "*", timeout_s=0.05, heartbeat_s=60) as work:
        await push(redis, "q")
        await work.until(1)
        await work.until_quiet()
        await wait_for(
            lambda: silent(redis)
        )  # the echo of the job before may take a while on a busy machine


async def test_ten_thousand_parked_jobs_cost_an_idle_process_nothing(
    redis_url: str, redis: Any
) -> None:
    """They wait aside for a limit: it sends no more than where there are none."""
    jobs = {"no_op": {"perform": no_op, "limit": Limit(0)}}
    async with working(redis_url, jobs, "*", slots=9, timeout_s=0.05, heartbeat_s=60) as work:
        await redis.sadd("resque:queues", "q")
        for first in range(0, 10_000, 1000):
            some = [b'{"class":"no_op","args":[%d]}' % n for n in range(first, first + 1000)]
            await redis.rpush("resque:queue:q", *some)

        async def all_parked() -> bool:
            return not await redis.exists("resque:queue:q")

        await wait_for(all_parked)
        await work.until_quiet()
        await wait_for(lambda: silent(redis))
        [parked] = await redis.keys("resque:resqpy:limits:jobs:*")
        assert await redis.llen(parked) == 10_000


async def test_a_beat_is_one_round_trip(redis_url: str, redis: Any) -> None:
    """The sign of life of all slots, the look for work and the pause key are one command; and the worker
    has four connections, whatever its slots.
    """
    await redis.set("resque:resqpy:searched", "1")  # else a beat lets us search, each ten minutes
    others = len(await redis.client_list())
    async with working(
        redis_url, {"no_op": no_op}, "*", slots=5, timeout_s=60, heartbeat_s=0.1
    ) as w:
        await w.until_quiet()
        await redis.config_resetstat()
        pings = len(w.args("ping"))
        await wait_for(lambda: len(w.args("ping")) >= pings + 5 * 8)
        calls = (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
        beats = (len(w.args("ping")) - pings) // 5
        assert len(await redis.client_list()) - others == 4
    assert 8 <= calls <= beats + 1  # one may be under way


async def test_at_default_settings_a_command_in_five_seconds(redis_url: str, redis: Any) -> None:
    """A beat and a ping of the tracking connection, each ten seconds, and few commands in the script; nothing
    follows a beat that brings no news, the first one neither, and nobody looks for the dead where none are.
    """
    options = WorkerOptions()
    assert 1 / options.heartbeat_s + 1 / PING_EVERY_S <= 0.2
    await redis.set("resque:resqpy:searched", "1")  # else a beat lets us search, each ten minutes
    await redis.sadd("resque:queues", "q", "other")
    async with working(redis_url, {"no_op": no_op}, "q", timeout_s=60, heartbeat_s=0.3) as work:

        async def next_beat() -> int:
            seen = len(work.args("ping"))
            await wait_for(lambda: len(work.args("ping")) > seen)
            return await commands(redis)

        async def few() -> bool:  # on a busy machine two beats may look like one
            before = await next_beat()
            of_a_beat = await next_beat() - before - 1  # the INFO
            return 0 < of_a_beat <= 12

        await work.until_quiet()
        await redis.config_resetstat()
        await next_beat()
        await wait_for(few)
        done = await redis.info("commandstats")
        assert not {"cmdstat_smembers", "cmdstat_zrange", "cmdstat_set"} & done.keys()
    assert not await redis.exists("resque:resqpy:rescuer")


async def test_a_stretched_idle_multi_worker_is_quiet_too(redis_url: str, redis: Any) -> None:
    """Checks of the autoscaler that change nothing cost nothing."""
    worker = MultiWorker(
        redis_url, {"no_op": no_op}, "*",
        WorkerOptions(timeout_s=60, heartbeat_s=60),
        ScalingOptions(1, 10, check_s=0.02),
    )  # fmt: skip
    checks: list[str] = []
    worker.on("multi_worker_action", lambda verb, *_: checks.append(verb))

    async def quiet() -> bool:
        before, done = await commands(redis), len(checks)
        await wait_for(lambda: len(checks) > done + 20)
        return await commands(redis) - before == 1 and set(checks[done:]) == {"x"}

    async with worker:
        await wait_for(quiet)  # what a start does besides comes to its end
