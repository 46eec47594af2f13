"""Settings whose effect is seen only in Redis, or in time: set in the config, looked at from outside.

A part that ignored one of them, and took its default instead, passed all other tests.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy.base.errors import StoreError, StoreUnavailable
from resqpy.base.model import WorkerId
from resqpy.embedded import PrivateServer
from resqpy.framework.api.api import api
from resqpy.framework.config.config import load_config, redis_options
from resqpy.framework.process.process import Process
from resqpy.store import workers
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions
from resqpy.store.exchange import Exchange, SlotRef
from tests.framework.conftest import MakeProject, until

LEADER = "resque:resqpy:leader"
TASKS = """
import asyncio, threading, time
from resqpy import task

running, most = [], []

@task(queue="q")
def blocks():
    "I block a thread."
    running.append(1)
    most.append(len(running))
    time.sleep(0.05)
    running.pop()
    return max(most)

@task(queue="q")
async def waits():
    "I wait."
    await asyncio.sleep(60)

@task(queue="q")
async def clings():
    "I do not end when I am cancelled."
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        await asyncio.sleep(1.2)
"""


async def test_lease_and_foreign_locks(make_project: MakeProject, redis: Redis) -> None:
    """How long the leader's locks live without a sign, and what Ruby's is called."""
    project = make_project(
        {
            "scheduler.lease": 4000,
            "scheduler.foreign_lock_ttl": 60_000,
            "scheduler.ruby_lock_prefix": "p",
        }
    )
    ruby = "resque:resque:p:resque_scheduler_master_lock"
    async with Process(project, scheduler=True):
        await until(lambda: redis.exists(ruby))
        lease_ms = await redis.pttl(LEADER)
        foreign = [await redis.ttl(each) for each in (ruby, "resque:resque_scheduler_leader_lock")]

    assert 1000 < lease_ms <= 4000
    assert all(30 < each <= 60 for each in foreign)


@pytest.mark.parametrize(("limit", "most"), [(1, 1), (2, 2), (None, 4)])
async def test_max_threads(
    make_project: MakeProject, redis: Redis, limit: int | None, most: int
) -> None:
    """So many plain tasks run at a time, though there are more task processors."""
    project = make_project(
        {
            "tasks.max_threads": limit,
            "tasks.min_task_processors": 4,
            "tasks.max_task_processors": 4,
        },
        tasks__a=TASKS,
    )
    async with Process(project, worker=True):
        await api.tasks.enqueue_many([("blocks", {})] * 12)
        await until(lambda: _processed(redis, 12))

    [seen] = [vars(each)["most"] for name, each in sys.modules.items() if _is_task_file(name, each)]
    assert max(seen) == most


def _is_task_file(name: str, module: object) -> bool:
    return name == "tasks.a" and hasattr(module, "most")


async def _processed(redis: Redis, count: int) -> bool:
    return int(await redis.get("resque:stat:processed") or 0) == count


async def test_check_timeout(make_project: MakeProject) -> None:
    """How often it is decided that more processors are needed: not before a minute, here."""
    settings = {
        "tasks.check_timeout": 60_000,
        "tasks.max_task_processors": 4,
        "tasks.stop_timeout": 0,
    }
    async with Process(make_project(settings, tasks__a=TASKS), worker=True):
        await api.tasks.enqueue_many([("waits", {})] * 3)
        await until(lambda: _busy(1))
        await asyncio.sleep(1.2)  # by default it is decided after half a second
        assert len(await api.tasks.workers()) == 1
    async with Process(make_project(settings | {"tasks.check_timeout": 50}), worker=True):
        await until(lambda: _busy(3))


async def _busy(count: int) -> bool:
    return sum(each is not None for each in (await api.tasks.all_working_on()).values()) >= count


async def test_heartbeat(make_project: MakeProject) -> None:
    """The signs of life come so often; by default, after 10 s."""
    pings: list[int] = []
    async with Process(make_project({"tasks.heartbeat": 50}, tasks__a=TASKS), worker=True):
        worker = api.resque.multi_worker
        assert worker is not None
        worker.on("ping", lambda *_: pings.append(1))
        await until(lambda: len(pings) >= 3)  # by default in 30 s


async def test_scheduler_timeout(make_project: MakeProject) -> None:
    """The scheduler looks so often; by default, after 5 s."""
    polls: list[int] = []
    project = make_project({"scheduler.timeout": 50}, tasks__a=TASKS)
    async with Process(project, worker=False, scheduler=True):
        scheduler = api.resque.scheduler
        assert scheduler is not None
        scheduler.on("poll", lambda *_: polls.append(1))
        await until(lambda: len(polls) >= 6)  # by default in 25 s


async def test_cancel_timeout(make_project: MakeProject) -> None:
    """A cancelled job that goes on is waited for so long, and not for the 2 s of the default."""
    project = make_project({"tasks.cancel_timeout": 50}, tasks__a=TASKS)
    loop = asyncio.get_running_loop()
    process = Process(project, worker=True)
    await process.start()
    await api.tasks.enqueue("clings")
    await until(lambda: _busy(1))
    began = loop.time()
    await process.stop(0)

    assert loop.time() - began < 1


async def test_rescue_after(make_project: MakeProject, redis: Redis) -> None:
    """A worker that was silent for ten seconds is dead where five are set (thirty are the default)."""
    store = Store(
        RedisOptions(
            (project := make_project({"scheduler.rescue_after": 5000})).config.redis.url or ""
        )
    )
    dead = WorkerId("host+1-abcd1234", "1", "lost")
    await redis.rpush("resque:queue:lost", '{"class":"Echo","queue":"lost","args":[]}')
    await workers.register(store, "abcd1234", [dead], "2026-11-21 00:00:00 +0000")
    exchange = Exchange(store)
    await exchange.run([], [SlotRef.of(dead)], ["lost"], "2026-11-21T00:00:00.000001Z")
    await exchange.close()
    await store.close()
    await redis.zincrby("resque:resqpy:processes", -10, "abcd1234")
    async with Process(project, scheduler=True):
        await until(lambda: redis.llen("resque:queue:lost"))


async def test_task_lost_after(make_project: MakeProject, redis: Redis) -> None:
    """A tracked task whose job is nowhere is given a new one after so long (five minutes by default)."""
    project = make_project({"scheduler.task_lost_after": 300}, tasks__a=TASKS)
    async with Process(project, scheduler=True):
        await api.tracked.create("waits")
        await redis.delete("resque:queue:q")
        await until(lambda: redis.llen("resque:queue:q"))


async def test_tracked_preset(make_project: MakeProject) -> None:
    """What a tracked task is like where its creator says nothing."""
    kept = {}
    for name in ("irontask", "twin"):
        async with Process(make_project({"tasks.tracked_preset": name}, tasks__a=TASKS)):
            kept[name] = (await api.tracked.create("waits")).record.retain_ms

    assert kept == {"irontask": None, "twin": 0}


async def test_connect_timeout() -> None:
    """A server that accepts and says nothing is given up after so long (five seconds by default)."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        store = _store({"redis.url": url, "redis.connect_timeout": 100})
        async with asyncio.timeout(3):
            with pytest.raises(StoreUnavailable):
                await store.connect()
        await store.close()


async def test_reply_timeout() -> None:
    """A server that says nothing any more is given up after so long (fifteen seconds by default)."""
    with PrivateServer() as server:
        store = _store({"redis.url": server.url, "redis.reply_timeout": 200})
        await store.connect()
        server.pause()
        try:
            async with asyncio.timeout(5):
                with pytest.raises(StoreError):
                    await store.call("PING")
        finally:
            server.resume()
        await store.close()


def _store(overrides: dict[str, Any]) -> Store:
    return Store(redis_options(load_config(Path("/nowhere"), "test", overrides, environ={})))


async def test_ruby_s_lock_is_left_to_ruby(make_project: MakeProject, redis: Redis) -> None:
    """With `ruby_leads` this one leads among resqpy's, takes neither foreign lock, and moves no job."""
    project = make_project({"scheduler.ruby_leads": True})
    await redis.rpush("resque:delayed:1000", b'{"class":"A","queue":"q","args":[]}')
    await redis.zadd("resque:delayed_queue_schedule", {"1000": 1000})

    async with Process(project, scheduler=True):
        await until(lambda: redis.exists(LEADER))  # in the same step it would take the others
        foreign = await redis.exists(
            "resque:resque:resque_scheduler_master_lock", "resque:resque_scheduler_leader_lock"
        )

    assert foreign == 0
    assert await redis.llen("resque:delayed:1000") == 1


async def test_when_a_ruby_worker_is_dead(make_project: MakeProject, redis: Redis) -> None:
    """`ruby_prune_after` says it; nobody need be watched then."""
    project = make_project({"scheduler.ruby_prune_after": 7_200_000})
    now = datetime.now(UTC)
    for name, hours in (("alive", 1), ("dead", 3)):
        await redis.sadd("resque:workers", f"{name}:1:q")
        beat = (now - timedelta(hours=hours)).isoformat(timespec="seconds")
        await redis.hset("resque:workers:heartbeat", f"{name}:1:q", beat)

    async with Process(project, scheduler=True):

        async def one_is_gone() -> bool:
            return bool(await redis.scard("resque:workers") == 1)

        await until(one_is_gone)

    assert await redis.smembers("resque:workers") == {b"alive:1:q"}
