"""Dead Ruby and Node workers, recognised by the rules of their own side."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy.base.clock import SYSTEM_CLOCK, iso_utc
from resqpy.engine.inspect.inspector import Inspector
from resqpy.engine.scheduler.foreign_care import ForeignCareChore
from resqpy.framework.config.sections import SchedulerOptions
from resqpy.store import workers
from tests.support.leading import LeadingScheduler

NODE = "host:11+1:mail"
RUBY = "host:22:mail"
NODE_RECORD = (
    b'{"run_at":"Fri Nov 20 2026 19:27:20 GMT-0500 (Eastern Standard Time)","worker":"host:11+1",'
    b'"payload":{"queue":"mail","class":"Echo","args":[9.007199254741e+15]},"queue":"mail"}'
)
RUBY_RECORD = (
    b'{"queue":"mail","run_at":"2026-11-21T00:27:20Z","payload":{"class":"Echo","args":[1.0]}}'
)


class Scene(LeadingScheduler):
    """With the chore that cleans up after foreign workers."""

    def __init__(
        self, url: str, *, retry: bool = False, prune_after_ms: int | None = 300_000
    ) -> None:
        super().__init__(url)
        options = SchedulerOptions(
            stuck_worker_timeout_ms=60_000,
            retry_stuck_jobs=retry,
            ruby_prune_after_ms=prune_after_ms,
        )
        self.chore = ForeignCareChore(Inspector(self.store), options, self.tell)


async def node_worker(redis: Redis, silent_s: int) -> None:
    """A Node worker in mid-job whose last ping was some seconds ago."""
    seen = SYSTEM_CLOCK.now_ms() // 1000 - silent_s
    await redis.sadd("resque:workers", NODE)
    await redis.set("resque:worker:ping:host:11+1", f'{{"time":{seen},"name":"host:11+1"}}')
    await redis.set(f"resque:worker:{NODE}", NODE_RECORD)


async def ruby_worker(redis: Redis, silent_s: int | None) -> None:
    """A Ruby worker in mid-job whose last heartbeat was some seconds ago (None: it has none)."""
    await redis.sadd("resque:workers", RUBY)
    await redis.set(f"resque:worker:{RUBY}", RUBY_RECORD)
    if silent_s is not None:
        seen = iso_utc((SYSTEM_CLOCK.now_ms() - silent_s * 1000) * 1000)
        await redis.hset("resque:workers:heartbeat", RUBY, f"{seen[:19]}+00:00")


async def test_a_dead_node_worker_s_job_goes_to_failed(redis_url: str, redis: Redis) -> None:
    """A ping older than the limit: the job fails, the worker is forgotten, the event tells."""
    async with Scene(redis_url) as scene:
        await node_worker(redis, silent_s=61)
        await scene.look()
        assert await redis.llen("resque:failed") == 1
        assert await redis.scard("resque:workers") == 0
        assert await redis.keys("resque:worker:*") == []
        [(worker, entry, seconds)] = scene.told_of("clean_stuck_worker")
        assert (worker, entry.class_name, seconds >= 61) == (NODE, "Echo", True)


async def test_living_foreign_workers_are_left_alone(redis_url: str, redis: Redis) -> None:
    """A fresh ping, a fresh heartbeat, or no sign of life at all: nobody is touched."""
    async with Scene(redis_url) as scene:
        await node_worker(redis, silent_s=50)
        await ruby_worker(redis, silent_s=290)
        await redis.sadd("resque:workers", "host:33:mail")
        await scene.look()
        assert await redis.scard("resque:workers") == 3
        assert await redis.llen("resque:failed") == 0


async def test_a_dead_ruby_worker_s_job_goes_to_failed_under_ruby_s_lock(
    redis_url: str, redis: Redis
) -> None:
    """A heartbeat older than five minutes; while a Ruby worker prunes, it is left to that one."""
    async with Scene(redis_url) as scene:
        await ruby_worker(redis, silent_s=310)
        await redis.set("resque:pruning_dead_workers_in_progress", "host:1:mail")
        await scene.look()
        assert await redis.llen("resque:failed") == 0
        await redis.delete("resque:pruning_dead_workers_in_progress")
        await scene.look()
        assert await redis.llen("resque:failed") == 1
        assert 0 < await redis.ttl("resque:pruning_dead_workers_in_progress") <= 60


@pytest.mark.parametrize(
    ("prune_after_ms", "interval_s"), [(None, 120), (300_000, 120), (900_000, 0), (None, 0)]
)
async def test_a_shop_that_beats_seldom(
    redis_url: str, redis: Redis, prune_after_ms: int | None, interval_s: int
) -> None:
    """Its setting counts, and what its lock shows; where nothing is known, a worker is watched before
    its job is taken away.
    """
    async with Scene(redis_url, prune_after_ms=prune_after_ms) as scene:
        await ruby_worker(redis, silent_s=400)
        if interval_s:
            await redis.set("resque:pruning_dead_workers_in_progress", "host:1:mail", ex=interval_s)
            await scene.look()
            await redis.delete("resque:pruning_dead_workers_in_progress")
        await scene.look()
        await scene.look()
        assert await redis.llen("resque:failed") == 0
        assert await redis.scard("resque:workers") == 1


async def test_jobs_go_back_where_configured(redis_url: str, redis: Redis) -> None:
    """With `retry_stuck_jobs` the jobs are queued again, with a warning for Node's damaged one."""
    async with Scene(redis_url, retry=True) as scene:
        await node_worker(redis, silent_s=61)
        await ruby_worker(redis, silent_s=310)
        await scene.look()
        assert await redis.llen("resque:failed") == 0
        queued = await redis.lrange("resque:queue:mail", 0, -1)
        assert b'{"class":"Echo","args":[1.0]}' in queued
        assert len(queued) == 2
        [(error,)] = scene.told_of("error")
        assert "may be damaged" in str(error)
        assert NODE in str(error)


async def test_a_stale_ping_of_nobody_is_removed(redis_url: str, redis: Redis) -> None:
    """A ping that would stop a Node scheduler goes; a fresh one may belong to one that starts."""
    async with Scene(redis_url) as scene:
        now = SYSTEM_CLOCK.now_ms() // 1000
        await redis.set("resque:worker:ping:gone", f'{{"time":{now - 90},"name":"gone"}}')
        await redis.set("resque:worker:ping:new", f'{{"time":{now},"name":"new"}}')
        await scene.look()
        assert await redis.keys("resque:worker:ping:*") == [b"resque:worker:ping:new"]
        assert len(scene.told_of("error")) == 1


async def test_another_ruby_leader_is_told(redis_url: str, redis: Redis) -> None:
    """Under a prefix that nobody here looks at; once."""
    async with Scene(redis_url) as scene:
        await redis.set("resque:resque:blue:resque_scheduler_master_lock", "ruby-host:2", ex=99)
        await scene.look()
        await scene.look()
        [(error,)] = scene.told_of("error")
        assert "ruby-host:2" in str(error)


@pytest.mark.parametrize("ping", [b"junk", b"[]", b'{"time":"x"}', b'{"time":1e400}', b"\xff"])
async def test_a_ping_that_says_nothing_stops_nothing(
    redis_url: str, redis: Redis, ping: bytes
) -> None:
    """Whose ping can't be read is left alone, whatever the name; the dead beside it are cleaned up."""
    async with Scene(redis_url) as scene:
        odd = {b"a:1+1:mail", b"\xff:1:q", b"noqueue"}
        await redis.sadd("resque:workers", *odd)
        await redis.set("resque:worker:ping:a:1+1", ping)
        await redis.hset("resque:workers:heartbeat", "noqueue", ping)
        await redis.set("resque:worker:ping:gone:1+1", ping)
        await node_worker(redis, silent_s=61)
        await scene.look()
        assert await redis.smembers("resque:workers") == odd
        assert await redis.keys("resque:worker:ping:*") == [b"resque:worker:ping:a:1+1"]


async def test_heartbeats_of_nobody_go(redis_url: str, redis: Any) -> None:
    """Those of workers that are registered, that beat, or whose time can't be read, stay."""
    now_us = SYSTEM_CLOCK.now_us()
    old, young = (f"{iso_utc(now_us - s * 1_000_000)[:19]}+00:00" for s in (3700, 60))
    beats = {f"ghost:{n}:mail": old for n in range(700)} | {
        "young:1:mail": young,
        "odd:1:mail": "yesterday",
        "idle:1:mail": "",
    }
    await redis.hset("resque:workers:heartbeat", mapping=beats)
    async with Scene(redis_url) as scene:
        await scene.look()
    left = await redis.hkeys("resque:workers:heartbeat")
    assert sorted(left) == [b"idle:1:mail", b"odd:1:mail", b"young:1:mail"]


async def test_a_registered_worker_keeps_its_heartbeat(redis_url: str, redis: Any) -> None:
    """Also one that is back between our look and the step that forgets it."""
    old = f"{iso_utc(SYSTEM_CLOCK.now_us() - 7_200_000_000)[:19]}+00:00"
    for worker_id in ("here:1:mail", "back:1:mail"):
        await redis.hset("resque:workers:heartbeat", worker_id, old)
    await redis.sadd("resque:workers", "here:1:mail")
    async with Scene(redis_url) as scene:
        keys, run = scene.store.keys, scene.store.run

        async def late(name: str, *args: Any, **more: Any) -> Any:
            if name == "forget_beats":
                await redis.sadd("resque:workers", "back:1:mail")
            return await run(name, *args, **more)

        scene.store.run = late  # type: ignore[method-assign]
        assert await workers.drop_ghost_beats(scene.store, SYSTEM_CLOCK.now_ms()) == 0
        assert await redis.hlen(keys.heartbeats) == 2
