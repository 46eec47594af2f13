"""Threads of ours: started within a time or not at all, begun anew when they die, told."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from asyncio.subprocess import PIPE
from typing import Any

import pytest

from resqpy import MultiWorker, SyncQueue
from resqpy.base.concurrency.loops import HelperThread, ThreadFailed
from resqpy.base.errors import StoreUnavailable
from resqpy.engine.role import State
from resqpy.framework.api.loop_thread import LOOP_THREAD
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions
from tests.support.ports import free_port
from tests.support.starving import no_more_threads
from tests.support.waiting import wait_for


async def test_what_dies_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its owner is told of each death, with the cause; then it works on, until it is stopped."""
    monkeypatch.setattr("resqpy.base.concurrency.loops._FIRST_PAUSE_S", 0.01)
    deaths: list[BaseException] = []
    begun: list[int] = []
    causes: list[BaseException] = [OSError(24, "Too many open files"), SystemExit(1)]

    async def work(stopping: asyncio.Event) -> None:
        begun.append(threading.get_ident())
        if len(begun) <= 2:
            raise causes[len(begun) - 1]
        await stopping.wait()

    helper = HelperThread("test", work, deaths.append)
    helper.start()
    await wait_for(lambda: len(begun) == 3)
    assert deaths == causes
    assert helper.alive
    helper.stop(20)
    assert not helper.alive


async def test_one_that_can_not_start_says_why() -> None:
    """At once."""

    async def work(stopping: asyncio.Event) -> None:
        await stopping.wait()

    with no_more_threads(), pytest.raises(ThreadFailed, match="thread test"):
        HelperThread("test", work, print).start()


async def test_a_worker_without_its_heartbeat_does_not_start(redis_url: str, redis: Any) -> None:
    """It says why, leaves nothing behind, and may be started when there are threads again."""
    worker = MultiWorker(redis_url, {"t": print})
    with no_more_threads(), pytest.raises(ThreadFailed):
        await worker.start()
    assert worker.state is State.NEW
    assert not await redis.keys("resque:worker*")
    await worker.start()
    await worker.stop()


async def test_a_plain_function_without_a_thread_fails(redis_url: str, redis: Any) -> None:
    """Its job fails with the cause, and the next one runs when there are threads again."""
    async with MultiWorker(redis_url, {"t": lambda: "done"}, "q") as worker:
        ended: list[Any] = []
        worker.on("failure", lambda _n, _q, _job, error, _ms: ended.append(error))
        worker.on("success", lambda _n, _q, _job, result, _ms: ended.append(result))
        with no_more_threads():
            await worker.queue.enqueue("q", "t")
            await wait_for(lambda: len(ended) == 1)
        await worker.queue.enqueue("q", "t")
        await wait_for(lambda: len(ended) == 2)
    assert "can't start a thread" in str(ended[0])
    assert ended[1] == "done"


def test_the_blocking_door_says_why(redis_url: str) -> None:
    """And works when there are threads again."""
    with SyncQueue(redis_url) as queue:
        queue.close()
        LOOP_THREAD.close()
        with no_more_threads(), pytest.raises(StoreUnavailable):
            queue.length("q")
        assert queue.length("q") == 0


STARVED = """
import asyncio, faulthandler, os, resource, sys
faulthandler.dump_traceback_later(30, exit=True)
from resqpy import Worker

async def main():
    worker = Worker(sys.argv[1], {"a": lambda: 1})
    await worker.connect()
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    held = []
    try:
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    for _ in range(int(sys.argv[2])):
        os.close(held.pop())
    try:
        await worker.start()
        print("started")
    except Exception as error:
        print(type(error).__name__, error)
    while held:
        os.close(held.pop())
    await worker.stop()

asyncio.run(main())
"""


@pytest.mark.parametrize("free", range(6))
async def test_few_descriptors(redis_url: str, redis: Any, free: int) -> None:
    """A worker starts, or says why not; it never hangs."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STARVED, redis_url, str(free), stdout=PIPE, stderr=PIPE
    )
    out, said = await program.communicate()
    assert program.returncode == 0, said.decode()
    assert out.startswith(b"started") or b"Too many open files" in out, out
    assert not await redis.keys("resque:worker*")


async def test_names_are_resolved_without_the_users_pool(redis_url: str) -> None:
    """A connection to a host by its name is made while tasks hold all threads of the loop's pool."""
    over = threading.Event()
    loop = asyncio.get_running_loop()
    held = [loop.run_in_executor(None, over.wait) for _ in range((os.cpu_count() or 1) + 40)]
    try:
        store = Store(RedisOptions(f"redis://localhost:{free_port()}/0"))
        async with asyncio.timeout(20):
            with pytest.raises(StoreUnavailable, match="reach"):
                await store.call("PING")
    finally:
        over.set()
        await asyncio.gather(*held)
