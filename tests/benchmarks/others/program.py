"""One library of Python, ours too: drains, enqueues, or is idle until a job comes. It runs in an environment that
has the library, so it imports nothing else of ours. Its argument is JSON: library, what, url, jobs.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol

SLOTS = 50
Seen = Callable[[str], None]


def say(**message: Any) -> None:
    """Tell the runner."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


class Library(Protocol):
    """Made with the URL of Redis and what is called with the argument of each job that runs."""

    async def open(self) -> None:
        """Connect what sends."""

    async def send(self, argument: str) -> None:
        """Enqueue one job, as its users do."""

    async def work(self) -> None:
        """Run jobs from now on."""


class Resqpy:
    """A `MultiWorker`."""

    def __init__(self, url: str, seen: Seen) -> None:
        resqpy: Any = import_module("resqpy")

        async def job(argument: str) -> None:
            seen(argument)

        scaling = resqpy.ScalingOptions(SLOTS, SLOTS)
        self._queue = resqpy.Queue(url)
        self._worker = resqpy.MultiWorker(url, {"job": job}, ["default"], scaling=scaling)

    async def open(self) -> None:
        await self._queue.connect()

    async def send(self, argument: str) -> None:
        await self._queue.enqueue("default", "job", [argument])

    async def work(self) -> None:
        await self._worker.start()


class Repid:
    """An app with one actor."""

    def __init__(self, url: str, seen: Seen) -> None:
        repid: Any = import_module("repid")

        async def job(argument: str) -> None:
            seen(argument)

        self._app = repid.Repid()
        self._server = repid.RedisServer(url)
        self._app.servers.register_server("default", self._server, is_default=True)
        router = repid.Router()
        router.actor(job)
        self._app.include_router(router)
        self._connection = self._server.connection()
        self._worker: Any = None

    async def open(self) -> None:
        await self._connection.__aenter__()

    async def send(self, argument: str) -> None:
        await self._app.send_message_json(
            channel="default", payload={"argument": argument}, headers={"topic": "job"}
        )

    async def work(self) -> None:
        self._worker = asyncio.ensure_future(self._app.run_worker())


class Taskiq:
    """A broker with a stream, which loses nothing, and its receiver."""

    def __init__(self, url: str, seen: Seen) -> None:
        async def job(argument: str) -> None:
            seen(argument)

        self._broker: Any = import_module("taskiq_redis").RedisStreamBroker(url)
        self._job = self._broker.register_task(job, task_name="job")
        self._worker: Any = None

    async def open(self) -> None:
        await self._broker.startup()

    async def send(self, argument: str) -> None:
        await self._job.kiq(argument)

    async def work(self) -> None:
        run_receiver_task: Any = import_module("taskiq.api").run_receiver_task

        self._worker = asyncio.ensure_future(
            run_receiver_task(self._broker, max_async_tasks=SLOTS, run_startup=False)
        )


class Dramatiq:
    """An actor, and a worker with its eight threads."""

    def __init__(self, url: str, seen: Seen) -> None:
        dramatiq: Any = import_module("dramatiq")
        self._broker: Any = import_module("dramatiq.brokers.redis").RedisBroker(url=url)
        dramatiq.set_broker(self._broker)
        self._worker = dramatiq.Worker(self._broker, worker_threads=8)
        self._job = dramatiq.actor(seen, actor_name="job")

    async def open(self) -> None:
        pass

    async def send(self, argument: str) -> None:
        self._job.send(argument)

    async def work(self) -> None:
        self._worker.start()


class Huey:
    """A task, and a consumer with eight threads."""

    def __init__(self, url: str, seen: Seen) -> None:
        self._huey: Any = import_module("huey").RedisHuey(url=url, results=False)
        self._job = self._huey.task(name="job")(seen)

    async def open(self) -> None:
        pass

    async def send(self, argument: str) -> None:
        self._job(argument)

    async def work(self) -> None:
        consumer = self._huey.create_consumer(workers=8, periodic=False)
        consumer.start()


LIBRARIES: dict[str, Callable[[str, Seen], Library]] = {
    "resqpy": Resqpy,
    "Repid": Repid,
    "taskiq": Taskiq,
    "Dramatiq": Dramatiq,
    "huey": Huey,
}


class Count:
    """Counts jobs, which may run in threads; the clock starts with the fiftieth."""

    def __init__(self, jobs: int) -> None:
        self._jobs, self._ran, self._start = jobs, 0, 0.0
        self._lock = threading.Lock()
        self.rate: float = 0.0
        self.over = threading.Event()

    def seen(self, _argument: str) -> None:
        """One has run."""
        with self._lock:
            self._ran += 1
            if self._ran == SLOTS:
                self._start = time.perf_counter()
            if self._ran == self._jobs:
                self.rate = (self._jobs - SLOTS) / (time.perf_counter() - self._start)
                self.over.set()


async def drain(make: Callable[[str, Seen], Library], url: str, jobs: int) -> None:
    """Fill the queue, then run everything."""
    count = Count(jobs)
    library = make(url, count.seen)
    await library.open()
    for at in range(0, jobs, 500):
        await asyncio.gather(*(library.send(str(n)) for n in range(at, min(at + 500, jobs))))
    await library.work()
    await asyncio.to_thread(count.over.wait)
    say(result=count.rate)


async def enqueue(make: Callable[[str, Seen], Library], url: str, jobs: int) -> None:
    """One after the other."""
    library = make(url, lambda _: None)
    await library.open()
    for n in range(200):
        await library.send(str(n))
    start = time.perf_counter()
    for n in range(jobs):
        await library.send(str(n))
    say(result=jobs / (time.perf_counter() - start))


async def idle(make: Callable[[str, Seen], Library], url: str, _jobs: int) -> None:
    """Say of each job how long ago it was sent, ms."""
    library = make(url, lambda sent: say(ran=(time.monotonic_ns() - int(sent)) / 1e6))
    await library.open()
    await library.work()
    await asyncio.sleep(1.0)
    say(ready=True)
    await asyncio.to_thread(sys.stdin.read)


async def sender(make: Callable[[str, Seen], Library], url: str, _jobs: int) -> None:
    """Send a job for each line."""
    library = make(url, lambda _: None)
    await library.open()
    say(ready=True)
    while await asyncio.to_thread(sys.stdin.readline):
        await library.send(str(time.monotonic_ns()))


def main() -> None:
    """What the argument says."""
    logging.disable(logging.CRITICAL)
    said = json.loads(sys.argv[1])
    runner = asyncio.Runner(loop_factory=import_module("uvloop").new_event_loop)
    ways = {"drain": drain, "enqueue": enqueue, "idle": idle, "sender": sender}
    runner.run(ways[said["what"]](LIBRARIES[said["library"]], said["url"], said["jobs"]))


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # threads of the libraries go on
