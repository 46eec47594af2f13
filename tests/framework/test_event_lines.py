"""Each event of a running worker and scheduler is a line of the log, at the level that its own option says."""

from __future__ import annotations

import io
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy import Scheduler
from resqpy.base.model import WorkerId
from resqpy.base.queue_age import QueueAge
from resqpy.framework.api.api import api
from resqpy.framework.config.merge import KNOWN
from resqpy.framework.logs import log
from resqpy.framework.process.process import Process
from resqpy.store import workers
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions
from resqpy.store.exchange import Exchange, SlotRef
from tests.framework.conftest import MakeProject, until

TASKS = """
from resqpy import task

@task(queue="jobs")
async def good():
    "I succeed."

@task(queue="jobs")
async def bad():
    "I fail."
    raise ValueError

@task(queue="jobs", retry=1)
async def again():
    "I am tried again."
    raise ValueError

@task(queue="nobody", frequency=1000)
async def often():
    "I run often."
"""
WORKER = {
    "start": "worker started", "end": "worker ended", "poll": "polling", "ping": "ping",
    "pause": "no work", "job": "job started", "success": "job succeeded", "failure": "job failed",
    "re_enqueue": "job delayed", "cleaning_worker": "dead worker removed",
    "internal_error": "worker error", "multi_worker_action": "scaling",
}  # fmt: skip
SCHEDULER = {
    "start": "scheduler: start", "end": "scheduler: end", "leader": "scheduler: leader",
    "follower": "scheduler: follower", "poll": "scheduler: poll", "enqueue": "enqueued",
    "re_enqueue": "re-enqueued", "working_timestamp": "working timestamp",
    "transferred_job": "transferred job", "cleaning_worker": "dead worker removed",
    "internal_error": "scheduler error",
}  # fmt: skip
LEVELS = ("debug", "info", "warning", "error", "critical")


def levels(group: str, events: dict[str, str], shift: int) -> dict[str, str]:
    """A level for each option; over two runs, no two options have the same pair of them."""
    run = [(n if shift == 0 else n // len(LEVELS) + 1) % len(LEVELS) for n in range(len(events))]
    return {f"tasks.{group}.{name}": LEVELS[at] for name, at in zip(events, run, strict=True)}


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where the log goes; the root logger is as before afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)


def written(stream: io.StringIO) -> dict[str, set[str]]:
    """At which levels each event was written."""
    found: dict[str, set[str]] = {}
    for line in map(json.loads, stream.getvalue().splitlines()):
        found.setdefault(line["event"], set()).add(line["level"])
    return found


async def until_written(stream: io.StringIO, *events: str) -> None:
    """Wait for all of them, and name those that never came."""
    try:
        await until(lambda: {*events} <= written(stream).keys())
    except AssertionError:
        missing = sorted({*events} - written(stream).keys())
        assert not missing


def as_said(settings: dict[str, str], events: dict[str, str]) -> dict[str, set[str]]:
    """What `written` is to be."""
    levels = {path.rpartition(".")[2]: level for path, level in settings.items()}
    return {words: {levels[name]} for name, words in events.items()}


async def leave_a_dead_worker(url: str, redis: Redis) -> None:
    """One whose process gave its last sign of life long ago, with a job."""
    store, dead = Store(RedisOptions(url)), WorkerId("host+1-abcd1234", "1", "lost")
    await redis.rpush("resque:queue:lost", '{"class":"Echo","queue":"lost","args":[]}')
    await workers.register(store, "abcd1234", [dead], "2026-11-21 00:00:00 +0000")
    exchange = Exchange(store)
    await exchange.run([], [SlotRef.of(dead)], ["lost"], "2026-11-21T00:00:00.000001Z")
    await exchange.close()
    await store.close()
    await redis.zincrby("resque:resqpy:processes", -1000, "abcd1234")


@pytest.mark.parametrize("shift", [0, 1])
async def test_events_of_a_worker(
    make_project: MakeProject, redis: Redis, redis_url: str, stream: io.StringIO, shift: int
) -> None:
    """One that takes up for a dead one, since no scheduler leads, and meets a queue that is none."""
    own = levels("worker_logging", WORKER, shift)
    settings: dict[str, Any] = {
        "logger.level": "debug", "tasks.heartbeat": 50, "tasks.check_timeout": 50,
        "tasks.queues": ["jobs", "odd"], **own,
    }  # fmt: skip
    project = make_project(settings, tasks__a=TASKS)
    await leave_a_dead_worker(redis_url, redis)
    await redis.sadd("resque:queues", "odd")
    await redis.set("resque:queue:odd", "no list")
    log.configure(project.config.logger, project.name, stream)
    async with Process(project, worker=True):
        await api.tasks.enqueue_many([("good", {}), ("bad", {}), ("again", {})])
        await until_written(stream, *(set(WORKER.values()) - {"worker ended", "scaling"}))
    found = written(stream)
    assert {words: found.get(words) for words in WORKER.values()} == as_said(own, WORKER)


async def test_how_long_a_job_has_waited(
    make_project: MakeProject, redis: Redis, stream: io.StringIO
) -> None:
    """By what the leader has published of its queue, without a command for a job; where that says nothing, the
    line doesn't either.
    """
    seconds, _ = await redis.time()
    since_ms = (seconds - 65) * 1000
    told = QueueAge(since_ms, 1, since_ms, 1000, "exact", 1, 0, 0.0, 0.0, counted=True)
    settings = {"logger.level": "info", "tasks.heartbeat": 200, "tasks.queues": ["jobs"]}
    project = make_project(settings, tasks__a=TASKS)
    log.configure(project.config.logger, project.name, stream)

    def lines() -> list[dict[str, Any]]:
        found = [json.loads(line) for line in stream.getvalue().splitlines()]
        return [line for line in found if line["event"].startswith("job ")]

    async def one_more(name: str) -> bool | None:
        count = len(lines())
        await api.tasks.enqueue(name)
        await until(lambda: len(lines()) > count)
        return "waited_ms" in lines()[-1] or None

    async with Process(project, worker=True):
        assert await one_more("good") is None
        await redis.hset("resque:resqpy:ages", mapping={"": seconds * 1000, "jobs": told.text()})
        await until(lambda: one_more("good"))
        await until(lambda: one_more("bad"))
        found = [line["waited_ms"] for line in lines() if "waited_ms" in line]
        await redis.hset("resque:resqpy:ages", "jobs", replace(told, accuracy="at_most").text())
        await until(lambda: _lacks(one_more))

    assert all(65_000 <= each < 65_000 + 60_000 for each in found)
    assert all(each % 100 == 0 for each in found)


async def _lacks(one_more: Any) -> bool:
    return await one_more("good") is None


@pytest.mark.parametrize("shift", [0, 1])
async def test_events_of_a_scheduler(
    make_project: MakeProject, redis: Redis, redis_url: str, stream: io.StringIO, shift: int
) -> None:
    """One that follows first, then leads; a job of a chain is taken away, and a delayed one is junk."""
    own = levels("scheduler_logging", SCHEDULER, shift)
    project = make_project(
        {"logger.level": "debug", "scheduler.timeout": 50, **own}, tasks__a=TASKS
    )
    second = int(time.time()) - 1
    await redis.zadd("resque:delayed_queue_schedule", {str(second): second})
    await redis.rpush(f"resque:delayed:{second}", "no job")
    async with Scheduler(redis_url) as first:
        await until(lambda: first.leader)
        await leave_a_dead_worker(redis_url, redis)
        log.configure(project.config.logger, project.name, stream)
        process = Process(project, scheduler=True)
        await process.start()
        await until_written(stream, "scheduler: follower")
    await redis.rpush(f"resque:delayed:{second}", "no job")
    await redis.zadd("resque:delayed_queue_schedule", {str(second): second})
    await leave_a_dead_worker(redis_url, redis)
    await until_written(stream, "scheduler: leader")
    await api.tasks.enqueue_in(1000, "good")
    missing = set(SCHEDULER.values()) - {"scheduler: end"}

    async def taken_away_until_all_is_told() -> bool:
        await redis.delete("resque:queue:nobody")
        return missing <= written(stream).keys()

    await until(taken_away_until_all_is_told)
    await process.stop()
    found = written(stream)
    assert {words: found.get(words) for words in SCHEDULER.values()} == as_said(own, SCHEDULER)


def test_no_event_is_forgotten() -> None:
    """Each option of these two groups is one of those above."""
    own = {f"tasks.worker_logging.{name}" for name in WORKER}
    own |= {f"tasks.scheduler_logging.{name}" for name in SCHEDULER}
    assert {path for path in KNOWN if "_logging." in path} == own
