"""What a process is at, as others see it: paused, quiet, stopping, stuck; in Redis, `/ready` and metrics."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog

from resqpy import Worker
from resqpy.embedded import PrivateServer
from resqpy.engine.options import WorkerOptions
from resqpy.engine.worker.heartbeat import PAUSED, QUIET, STOPPING, STUCK
from resqpy.framework.process.metrics import of_parts
from resqpy.framework.process.parts import tell_if_nobody_leads
from resqpy.framework.process.process import Process
from resqpy.store import workers
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions
from tests.framework.conftest import MakeProject, until
from tests.support.ports import free_port
from tests.support.probes import get
from tests.support.waiting import wait_for


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Store]:
    """A connection of an observer."""
    made = Store(RedisOptions(redis_url))
    yield made
    await made.close()


async def state(store: Store, worker: Any) -> str:
    """What others read of a worker."""
    incarnation = worker.pool.slots.incarnation
    return (await workers.states(store, [incarnation])).get(incarnation, "")


def told(process: Process) -> str:
    """The state that the metrics of a process tell."""
    [found] = [each for each in of_parts(process.resque) if each.name == "resqpy_worker_state"]
    [name] = [labels["state"] for labels, value in found.values if value == 1]
    return name


@pytest.mark.parametrize(("for_good", "name"), [(False, PAUSED), (True, QUIET)])
async def test_a_pause_is_seen_by_others(
    make_project: MakeProject, store: Store, for_good: bool, name: str
) -> None:
    """At once, in the record, in `/ready` and in the metrics; and its end too."""
    port = free_port()
    async with Process(make_project({"process.health_port": port}), worker=True) as process:
        worker = process.resque.multi_worker
        process.pause(for_good=for_good)
        await wait_for(lambda: _is(state(store, worker), name))
        status, body = await get(port, "/ready")
        assert (status, body["ready"], body["state"], told(process)) == (503, False, name, name)

        process.resume()
        await wait_for(lambda: _is(state(store, worker), ""))
        assert (await get(port, "/ready"))[0] == 200
        assert told(process) == "working"
        process.pause()
        await wait_for(lambda: _is(state(store, worker), PAUSED))
    assert await store.call("KEYS", "*resqpy:state:*") == []


async def _is(state: Any, wanted: str) -> bool:
    return bool(await state == wanted)


async def test_a_stop_is_seen_by_others(redis_url: str, store: Store) -> None:
    """As long as a job runs."""
    going = asyncio.Event()

    async def job() -> None:
        going.set()
        await asyncio.sleep(60)

    worker = Worker(redis_url, {"job": job}, "q")
    await worker.queue.enqueue("q", "job")
    await worker.start()
    await going.wait()
    stopping = asyncio.create_task(worker.stop(60))
    await wait_for(lambda: _is(state(store, worker), STOPPING))
    await worker.stop_now()
    await stopping


async def test_jobs_that_ignore_their_limit_are_stuck(
    make_project: MakeProject, redis_url: str, store: Store
) -> None:
    """All slots have one: nothing more will run here, which the record and `/ready` say."""
    port = free_port()
    project = make_project(
        {"process.health_port": port, "tasks.min_task_processors": 1, "tasks.max_task_processors": 1,
         "tasks.cancel_timeout": 1, "tasks.heartbeat": 200},
        tasks__t="""
            import asyncio, resqpy

            @resqpy.task(time_limit=50)
            async def deaf() -> None:
                "Go on whatever happens."
                while not getattr(asyncio, "END", False):
                    try:
                        await asyncio.sleep(0.05)
                    except asyncio.CancelledError:
                        pass
            """,
    )  # fmt: skip
    async with Process(project, worker=True) as process:
        try:
            await process.resque.queue.enqueue("default", "deaf", [{}])
            await wait_for(lambda: _is(state(store, process.resque.multi_worker), STUCK))
            status, body = await get(port, "/ready")
            assert (status, body["state"], told(process)) == (503, STUCK, STUCK)
        finally:
            asyncio.END = True  # type: ignore[attr-defined]


async def test_a_blocked_event_loop_is_stuck(redis_url: str, store: Store) -> None:
    """The heartbeat, in its thread, sees that nobody hears it."""
    release = threading.Event()

    async def blocking() -> None:
        release.wait(30)

    seen: list[str] = []

    def run() -> None:
        async def live() -> None:
            options = WorkerOptions(heartbeat_s=0.1)
            async with Worker(redis_url, {"b": blocking}, "q", options) as worker:
                seen.append(worker.pool.slots.incarnation)
                await worker.queue.enqueue("q", "b")
                await asyncio.sleep(0.5)

        asyncio.run(live())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        await wait_for(lambda: seen)
        await wait_for(lambda: _has(store, seen[0], STUCK))
    finally:
        release.set()
        await asyncio.to_thread(thread.join)


async def _has(store: Store, incarnation: str, wanted: str) -> bool:
    return (await workers.states(store, [incarnation])).get(incarnation) == wanted


async def test_a_replica_is_not_ready(make_project: MakeProject) -> None:
    """It answers, and takes no writes."""
    port = free_port()
    with PrivateServer() as server:
        project = make_project({"redis.url": server.url, "process.health_port": port})
        async with Process(project) as process:
            await process.resque.store.call("REPLICAOF", "127.0.0.1", "1")
            await until(lambda: _answers(port, 503))
            await process.resque.store.call("REPLICAOF", "NO", "ONE")
            await until(lambda: _answers(port, 200))


async def _answers(port: int, status: int) -> bool:
    return (await get(port, "/ready"))[0] == status


@pytest.mark.parametrize(
    ("key", "periodic", "words"),
    [
        (None, False, ["no scheduler leads, so periodic tasks and delayed jobs don't run"]),
        ("leader", True, []),
        ("node_leader", False, []),
        ("node_leader", True, ["no resqpy scheduler leads, only 'x' (Node), so periodic tasks don't run"]),
    ],
)  # fmt: skip
async def test_a_worker_says_once_that_nobody_leads(
    store: Store, key: str | None, words: list[str], monkeypatch: pytest.MonkeyPatch, *, periodic: bool
) -> None:  # fmt: skip
    """Not where a scheduler of any language leads, unless there are periodic tasks, which only ours runs."""
    monkeypatch.setattr("resqpy.framework.process.parts._LOOK_AFTER_S", 0)
    if key is not None:
        await store.call("SET", getattr(store.keys, key), "x", "PX", 60_000)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(0))
    with structlog.testing.capture_logs() as log:
        await tell_if_nobody_leads(store, "", periodic=periodic)

    assert [line["event"] for line in log] == words


async def test_a_process_looks_for_a_leader(make_project: MakeProject, monkeypatch: Any) -> None:
    """Where it works and has no scheduler of its own."""
    asked: list[float] = []

    async def look(_store: Store, _prefix: str, *, periodic: bool) -> None:
        asked.append(time.monotonic())

    monkeypatch.setattr("resqpy.framework.process.parts.tell_if_nobody_leads", look)
    roles: list[tuple[bool, bool, int]] = [(True, False, 1), (True, True, 0), (False, False, 0)]
    for worker, scheduler, times in roles:
        asked.clear()
        async with Process(make_project(), worker=worker, scheduler=scheduler):
            await asyncio.sleep(0)
        assert len(asked) == times, (worker, scheduler)
