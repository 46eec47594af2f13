"""What a process ran is written to the history with its heartbeats, with the numbers that Prometheus gets."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis

from resqpy.base.history import FAILED, HOURS, LOST, QUEUES, RETRIED, RUNS, TASKS, new_record
from resqpy.framework.api.api import api
from resqpy.framework.process.process import Process
from resqpy.store import history
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions
from tests.framework.conftest import MakeProject
from tests.support.ports import free_port
from tests.support.probes import fetch
from tests.support.waiting import wait_for

FILE = """
    from resqpy import task

    @task
    async def good():
        "For the test."

    @task(queue="low")
    async def bad():
        "For the test."
        raise ValueError("as planned")

    @task(retry=1)
    async def again():
        "For the test."
        raise ValueError("as planned")
"""
QUICK = {"tasks.heartbeat": 100, "tasks.max_task_processors": 3, "tasks.queues": ["*"]}
SLOW = {**QUICK, "tasks.heartbeat": 60_000}
Ran = dict[str, list[int]]


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Store]:
    """A connection."""
    made = Store(RedisOptions(redis_url))
    yield made
    await made.close()


async def ran(store: Store, kind: str) -> Ran:
    """What the history has of the last two hours, added."""
    found: Ran = {}
    slots = HOURS.slots(await store.time_us() // 1_000_000, 2)
    for slot in await history.read(store, kind, HOURS, slots):
        for name, record in slot.items():
            known = found.get(name, new_record())
            found[name] = [a + b for a, b in zip(known, record, strict=True)]
    return found


async def enqueue() -> None:
    """Some of each."""
    for name in ("good", "good", "good", "bad", "again"):
        await api.tasks.enqueue(name)


async def test_heartbeats_write_what_ran(
    make_project: MakeProject, redis: Redis, store: Store
) -> None:
    """By task and queue; Prometheus is given the same."""
    port = free_port()
    project = make_project({"process.health_port": port, **QUICK}, tasks__all=FILE)
    async with Process(project, worker=True):
        await enqueue()

        async def complete() -> bool:
            found = await ran(store, TASKS)
            return sum(each[RUNS] + each[RETRIED] for each in found.values()) == 5

        await wait_for(complete)
        tasks = await ran(store, TASKS)
        queues = await ran(store, QUEUES)
        _, body = await fetch(port, "/metrics")

    assert {name: record[RUNS] for name, record in tasks.items()} == {
        "good": 3,
        "bad": 1,
        "again": 0,
    }
    assert (tasks["bad"][FAILED], tasks["good"][FAILED], tasks["again"][RETRIED]) == (1, 0, 1)
    assert {name: record[RUNS] for name, record in queues.items()} == {"default": 3, "low": 1}
    assert queues["default"][RETRIED] == 1
    told = {
        (each.labels["task"], each.labels["outcome"]): each.value
        for family in text_string_to_metric_families(body.decode())
        for each in family.samples
        if each.name == "resqpy_jobs_total"
    }
    assert told == {
        ("good", "succeeded"): tasks["good"][RUNS],
        ("bad", "failed"): tasks["bad"][FAILED],
        ("again", "re_enqueued"): tasks["again"][RETRIED],
    }


async def test_a_stop_writes_the_rest(
    make_project: MakeProject, redis: Redis, store: Store
) -> None:
    """Also where no heartbeat has come since."""
    async with Process(make_project(SLOW, tasks__all=FILE), worker=True):
        await enqueue()

        async def all_ended() -> bool:
            counts = await redis.mget("resque:stat:processed", "resque:stat:failed")
            return [int(each or 0) for each in counts] == [3, 2]

        await wait_for(all_ended)
    assert sum(record[RUNS] for record in (await ran(store, TASKS)).values()) == 4


async def test_jobs_cost_redis_no_command_more(make_project: MakeProject, redis: Redis) -> None:
    """What ran is written once, however many jobs it was; and an idle heartbeat writes nothing."""
    counted = []
    for number in (3, 300):
        async with Process(make_project(SLOW, tasks__all=FILE), worker=True) as process:
            await api.tasks.enqueue_many([("good", {})] * number)
            want = 3 if number == 3 else 303

            async def all_ended(want: int = want) -> bool:
                return int(await redis.get("resque:stat:processed") or 0) == want

            await wait_for(all_ended)
            counts, found = process.resque.counts, process.resque.store
            await counts.flush(found)  # the script is loaded now
            await redis.config_resetstat()
            await api.tasks.enqueue("good")

            async def one_more(want: int = want) -> bool:
                return int(await redis.get("resque:stat:processed") or 0) == want + 1

            await wait_for(one_more)
            await redis.config_resetstat()
            await counts.flush(found)
            await counts.flush(found)
            stats = await redis.info("commandstats")
            counted.append(stats["cmdstat_evalsha"]["calls"])
        await redis.decr("resque:stat:processed")
    assert counted == [1, 1]


async def test_lost_jobs_are_counted(make_project: MakeProject, redis: Redis, store: Store) -> None:
    """By whoever finds them, here a scheduler without workers."""
    worker = "box+1-abcdefgh:77:mail"
    record = (
        '{"queue":"mail","run_at":"2026-11-29T09:56:51Z","payload":{"class":"send","args":[]},'
        f'"worker":"{worker}"}}'
    )
    await redis.set(f"resque:worker:{worker}", record)
    await redis.sadd("resque:workers", worker)
    project = make_project({"scheduler.rescue_after": 1000}, tasks__all=FILE)
    async with Process(project, worker=False, scheduler=True):
        await wait_for(lambda: redis.llen("resque:queue:mail"))
    assert (await ran(store, TASKS))["send"][LOST] == 1
    assert (await ran(store, QUEUES))["mail"][LOST] == 1


async def test_what_can_not_be_written_is_written_later(
    make_project: MakeProject, redis: Redis, store: Store
) -> None:
    """Nothing is lost, and nothing counted twice."""
    async with Process(make_project(SLOW, tasks__all=FILE), worker=True) as process:
        await api.tasks.enqueue("good")
        counts, found = process.resque.counts, process.resque.store

        async def ended() -> bool:
            return bool(await redis.get("resque:stat:processed"))

        await wait_for(ended)
        slots = [
            s for n in (0, 3600) for s in HOURS.slots(await store.time_us() // 1_000_000 + n, 1)
        ]
        for slot in slots:
            await redis.set(store.keys.history(TASKS, HOURS.name, str(slot)), "of another type")
        await counts.flush(found)
        await redis.delete(*(store.keys.history(TASKS, HOURS.name, str(slot)) for slot in slots))
        await counts.flush(found)
        await counts.flush(found)
    assert (await ran(store, TASKS))["good"][RUNS] == 1
