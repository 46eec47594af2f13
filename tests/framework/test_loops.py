"""Whoever enqueues from another event loop gets an answer: it is done once, or refused at once."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import warnings
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy import Inspector, Queue, Resque, Store
from resqpy.base.concurrency.own_tasks import own_task
from resqpy.base.errors import WrongLoop
from resqpy.framework.api.api import api
from resqpy.framework.process.process import Process
from resqpy.store.connection.options import RedisOptions
from tests.framework.conftest import MakeProject, until

TASKS = """
    import asyncio
    import threading
    from resqpy import api, task

    @task
    async def ok(n: int = 0):
        "Do nothing."

    async def enqueue(n):
        return bool(await ok.enqueue(n=n))

    async def enqueue_by_name(n):
        return await api.tasks.enqueue("ok", {"n": n})

    async def create(n):
        return bool(await api.tracked.create("ok", {"n": n}))

    async def look(n):
        await api.tasks.queues()
        return all(await ok.enqueue_many([ok.job(n=n)]))

    WAYS = {each.__name__: each for each in (enqueue, enqueue_by_name, create, look)}

    @task
    def plain(way: str, n: int):
        "A plain function enqueues the next job."
        return asyncio.run(WAYS[way](n))

    @task
    def in_a_thread(way: str, n: int):
        "So does a thread with a loop of its own."
        done = []
        thread = threading.Thread(target=lambda: done.append(asyncio.run(WAYS[way](n))))
        thread.start()
        thread.join()
        return done[0]
"""


@pytest.mark.parametrize("task", ["plain", "in_a_thread"])
@pytest.mark.parametrize("way", ["enqueue", "enqueue_by_name", "create", "look"])
async def test_a_plain_task_enqueues_on_a_loop_of_its_own(
    make_project: MakeProject, redis: Redis, task: str, way: str
) -> None:
    """Once, and it ends, so that its slot is free for the next."""
    project = make_project({"tasks.max_task_processors": 1}, tasks__a=TASKS)
    assert project.errors == ()
    async with Process(project, worker=True) as process:
        results: list[Any] = []
        worker = process.resque.multi_worker
        assert worker is not None
        worker.on("success", lambda _n, _q, job, result, _ms: results.append((job, result)))
        await api.tasks.enqueue(task, {"way": way, "n": 7})
        await until(lambda: len(results) == 2)

    assert [(job.class_name, result) for job, result in results] == [(task, True), ("ok", None)]
    assert results[1][0].args[0]["n"] == 7
    assert await redis.get("resque:stat:processed") == b"2"


async def test_a_synchronous_view_enqueues(make_project: MakeProject) -> None:
    """An application's plain view runs in a thread, while the application's loop goes on."""
    project = make_project(tasks__a=TASKS)

    async def enqueue(n: int) -> bool:
        return await api.tasks.enqueue("ok", {"n": n})

    async with Process(project, worker=False):
        views = [asyncio.to_thread(asyncio.run, enqueue(n)) for n in range(5)]
        assert await asyncio.gather(*views) == [True] * 5
        jobs = await api.tasks.queued("default")
    assert sorted(job.args[0]["n"] for job in jobs) == [0, 1, 2, 3, 4]


def _use(made: Any) -> Coroutine[Any, Any, Any]:
    if isinstance(made, Store):
        return made.time_us()
    found: Coroutine[Any, Any, Any] = made.queues()
    return found


MAKERS: list[Callable[[Any], Any]] = [Store, Resque, Inspector]


@pytest.mark.parametrize("make", MAKERS, ids=["Store", "Resque", "Inspector"])
def test_a_loop_that_was_closed_leaves_its_object_to_the_next(redis_url: str, make: Any) -> None:
    """A script with one `asyncio.run` after another."""
    made = make(RedisOptions(redis_url))
    with warnings.catch_warnings():  # it was not closed before its loop: Python says so
        warnings.simplefilter("ignore", ResourceWarning)
        for _ in range(3):
            asyncio.run(_use(made))
        asyncio.run(made.close())
        gc.collect()


def test_a_loop_that_stands_still_is_told_at_once(redis_url: str) -> None:
    """And when it runs again, all is as it was."""
    queue = Queue(redis_url)
    with asyncio.Runner() as runner:
        runner.run(queue.enqueue("q", "first"))
        with pytest.raises(WrongLoop):
            asyncio.run(queue.enqueue("q", "second"))
        assert runner.run(queue.enqueue("q", "third"))
        found = runner.run(Inspector(queue).queued("q"))
        runner.run(queue.close())
    assert [job.class_name for job in found] == ["first", "third"]


async def test_a_loop_inside_a_loop_is_told_at_once(redis_url: str) -> None:
    """Of the same thread, as programs that patch asyncio have it: waiting would be for ever."""
    async with Queue(redis_url) as queue:
        await queue.enqueue("q", "first")
        inner, outer = asyncio.new_event_loop(), asyncio.get_running_loop()
        asyncio._set_running_loop(None)
        try:
            with pytest.raises(WrongLoop, match="would wait for itself"):
                inner.run_until_complete(queue.enqueue("q", "second"))
        finally:
            asyncio._set_running_loop(outer)
            inner.close()
        assert await queue.enqueue("q", "third")


def test_a_loop_that_ends_meanwhile_lets_its_callers_go(tmp_path: Path) -> None:
    """They hear that the outcome is unknown; Redis never answers here."""
    ready, go_on = threading.Event(), threading.Event()
    store = Store(RedisOptions(f"unix://{tmp_path}/nobody.sock", connect_timeout_s=60))

    async def owner() -> None:
        store.line._home.elsewhere()
        store.line._opening = own_task(asyncio.sleep(60))
        ready.set()
        await asyncio.to_thread(go_on.wait)

    async def caller() -> None:
        asked = asyncio.create_task(store.time_us())
        await until(lambda: store.line._waiting)
        go_on.set()
        with pytest.raises(Exception, match="may or may not have been done"):
            await asked

    thread = threading.Thread(target=lambda: asyncio.run(owner()))
    thread.start()
    ready.wait()
    asyncio.run(caller())
    thread.join()


async def test_a_cancelled_caller_harms_nobody(redis_url: str) -> None:
    """The owner's own calls go on."""
    async with Queue(redis_url) as queue:
        await queue.enqueue("q", "first")

        async def impatient() -> None:
            task = asyncio.create_task(queue.enqueue("q", "second"))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        await asyncio.to_thread(lambda: asyncio.run(impatient()))
        assert await queue.enqueue("q", "third")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
async def test_a_forked_child_has_a_connection_of_its_own(redis_url: str) -> None:
    """The parent's loop does not run there, whatever it looks like."""
    async with Queue(redis_url) as queue:
        await queue.enqueue("q", "parent")
        child = await asyncio.to_thread(_forked, queue)
        assert child == 0
        assert await queue.enqueue("q", "parent again")
        names = [job.class_name for job in await Inspector(queue).queued("q")]
    assert names == ["parent", "child", "parent again"]


def _forked(queue: Queue) -> int:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if asyncio.run(queue.enqueue("q", "child")) else 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("part", ["process", "worker", "scheduler"])
async def test_a_part_is_stopped_from_another_loop(make_project: MakeProject, part: str) -> None:
    """A thread with a loop of its own stops it, and another waits for its end: both return."""
    project = make_project({"tasks.scheduler": True}, tasks__a=TASKS)
    process = Process(project, worker=True, scheduler=True)
    await process.start()
    found: Any = {
        "process": process,
        "worker": process.resque.multi_worker,
        "scheduler": process.resque.scheduler,
    }[part]
    try:
        waiting: Any = []
        if part != "process":  # that waits for a wish to stop
            waiting = [asyncio.to_thread(lambda: asyncio.run(found.wait()))]
        await asyncio.gather(asyncio.to_thread(lambda: asyncio.run(found.stop())), *waiting)
    finally:
        await process.stop()
    assert part == "process" or not found.running
