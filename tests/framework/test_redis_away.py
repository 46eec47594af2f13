"""Redis that is not there: at the start it is waited for, while running it is told once."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis
import structlog

from resqpy import RedisOptions, SyncQueue, Worker, lifespan, open_project
from resqpy.base.errors import OutcomeUnknown, StoreMisconfigured, StoreUnavailable
from resqpy.embedded import PrivateServer
from resqpy.framework.api.api import api
from resqpy.framework.api.scheduler import Scheduler
from resqpy.framework.process.process import Process
from tests.framework.conftest import MakeProject, until
from tests.support.ports import free_port
from tests.support.proxy import Proxy

TASK = """
from resqpy import task

@task()
async def no_op():
    "I do nothing."
"""
PERIODIC = TASK.replace("@task()", "@task(frequency=60_000)")
SOON_MS = 400


class Log:
    """The lines of a log."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def of_redis(self) -> list[str]:
        """What was told of its coming and going, without what differs."""
        events = [str(each["event"]) for each in self.lines]
        return [each for each in events if "Redis at" in each]


@pytest.fixture
def log(_silent: None) -> Log:
    """What is logged."""
    kept = Log()

    def keep(_: Any, level: str, told: MutableMapping[str, Any]) -> str:
        kept.lines.append({"level": level, **told})
        raise structlog.DropEvent

    structlog.configure(processors=[keep], wrapper_class=structlog.make_filtering_bound_logger(20))
    return kept


class Late:
    """A Redis on a port, that comes when it is told to."""

    def __init__(self, *config: str) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.server: PrivateServer | None = None
        self._config = [f"port {self.port}", *config]

    def start(self) -> None:
        """It comes."""
        self.server = PrivateServer(config=self._config)

    def stop(self) -> None:
        """It goes."""
        server, self.server = self.server, None
        if server is not None:
            server.close()


@pytest.fixture
def late() -> Iterator[Late]:
    """Not there yet."""
    made = Late()
    yield made
    made.stop()


@asynccontextmanager
async def coming(late: Late, log: Log) -> AsyncIterator[None]:
    """It comes as soon as somebody has said that it is missing."""

    async def come() -> None:
        await until(log.of_redis)
        await asyncio.to_thread(late.start)

    task = asyncio.create_task(come())
    try:
        yield
    finally:
        await task


# -- the wait of a start --


@pytest.mark.parametrize("number", [1, 2])
async def test_a_connection_that_breaks_in_the_middle_of_a_start(
    make_project: MakeProject, redis_url: str, number: int
) -> None:
    """The start goes on, whatever was asked for when it broke."""
    async with Proxy(redis_url) as proxy:
        proxy.lose_reply(number)
        project = make_project({"redis.url": proxy.url}, tasks__a=PERIODIC)
        async with Process(project, worker=True, scheduler=False):
            assert await api.tasks.enqueue("no_op")


async def _by_process(make_project: MakeProject, late: Late) -> None:
    async with Process(
        make_project({"redis.url": late.url}, tasks__a=TASK), worker=True, scheduler=True
    ):
        await api.tasks.enqueue("no_op")


async def _by_open_project(make_project: MakeProject, late: Late) -> None:
    root = _rooted(make_project, late)
    async with open_project(root):
        await api.tasks.enqueue("no_op")


async def _by_lifespan(make_project: MakeProject, late: Late) -> None:
    async with lifespan(_rooted(make_project, late))(None):
        await api.tasks.enqueue("no_op")


def _rooted(make_project: MakeProject, late: Late) -> Any:
    text = f"def default():\n    return {{'url': {late.url!r}}}\n"
    return make_project(tasks__a=TASK, config__redis=text).root


@pytest.mark.parametrize("start", [_by_process, _by_open_project, _by_lifespan])
async def test_a_start_waits(
    make_project: MakeProject, late: Late, log: Log, start: Callable[..., Awaitable[None]]
) -> None:
    """Told once, and once when it is there, with the address."""
    async with coming(late, log):
        await start(make_project, late)

    place = f"Redis at redis://127.0.0.1:{late.port}/0"
    assert log.of_redis() == [
        f"cannot reach {place}; retrying for up to 30 s",
        f"{place} is available again",
    ]


@pytest.mark.parametrize("kind", [Worker, Scheduler])
async def test_a_role_waits(late: Late, kind: Any) -> None:
    """Also without a project."""
    role = kind(late.url, {})
    starting = asyncio.create_task(role.start())
    await until(lambda: role.store.options.reachability.away)
    await asyncio.to_thread(late.start)
    await starting
    await role.stop()


async def test_the_synchronous_door_waits(late: Late) -> None:
    """At its first call."""
    with SyncQueue(late.url) as queue:
        starting = asyncio.create_task(asyncio.to_thread(queue.enqueue, "q", "C"))
        await asyncio.sleep(0.3)  # it has met nobody by then, most of the time
        await asyncio.to_thread(late.start)
        assert await starting
        assert queue.length("q") == 1
        late.stop()
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            queue.length("q")
        assert time.monotonic() - began < 10


async def test_the_limit_is_a_setting(make_project: MakeProject, late: Late, log: Log) -> None:
    """After it the start fails, saying so."""
    settings = {"redis.url": late.url, "redis.startup_timeout": SOON_MS}
    with pytest.raises(StoreUnavailable, match=r"given up after 0\.4 s"):
        await Process(make_project(settings, tasks__a=TASK), worker=True).start()

    assert len(log.of_redis()) == 1


async def test_a_stop_ends_the_wait(make_project: MakeProject, late: Late, log: Log) -> None:
    """A process that is told to stop while it waits does so at once, and that is no error."""
    process = Process(make_project({"redis.url": late.url}, tasks__a=TASK), worker=True)
    running = asyncio.create_task(process.run())
    await until(log.of_redis)
    process.request_stop()
    async with asyncio.timeout(10):
        await running


class Refusing:
    """What answers everything by the same bytes, or hangs up."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            with client, contextlib.suppress(OSError):
                client.recv(1000)
                client.sendall(self._answer)

    def close(self) -> None:
        """No more."""
        self._socket.close()


NO_REDIS = b"HTTP/1.1 400 Bad Request\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (NO_REDIS, "is not Redis"),
        (b"-WRONGPASS invalid username-password pair or user is disabled.\r\n", "login"),
        (b"-NOAUTH Authentication required.\r\n", "login"),
        (b"-ERR DB index is out of range\r\n", "out of range"),
    ],
)
async def test_what_waiting_cannot_mend_is_raised_at_once(
    make_project: MakeProject, answer: bytes, words: str, log: Log
) -> None:
    """A wrong password, another program."""
    server = Refusing(answer)
    project = make_project({"redis.url": f"redis://:pw@127.0.0.1:{server.port}/1"}, tasks__a=TASK)
    try:
        async with asyncio.timeout(20):
            with pytest.raises(StoreMisconfigured, match=words):
                await Process(project, worker=True).start()
    finally:
        server.close()
    assert log.of_redis() == []


@pytest.mark.parametrize("setting", ["maxclients", "readonly", "loading"])
async def test_what_waiting_mends_is_waited_for(
    make_project: MakeProject, setting: str, log: Log
) -> None:
    """No connection left, a replica that becomes the master, data that are being loaded."""
    answers = {
        "maxclients": b"-ERR max number of clients reached\r\n",
        "loading": b"-LOADING Redis is loading the dataset in memory\r\n",
    }
    if setting == "readonly":
        with PrivateServer() as server, SyncQueue(server.url) as queue:
            queue.run(lambda each: each.store.call("REPLICAOF", "127.0.0.1", "1"))
            project = make_project({"redis.url": server.url}, tasks__a=TASK)
            async with _starting(project, log):
                queue.run(lambda each: each.store.call("REPLICAOF", "NO", "ONE"))
        return
    refusing, late = Refusing(answers[setting]), Late()
    late.port, late._config = refusing.port, [f"port {refusing.port}"]
    late.url = f"redis://127.0.0.1:{refusing.port}/0"
    project = make_project({"redis.url": late.url}, tasks__a=TASK)
    try:
        async with _starting(project, log):
            refusing.close()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", late.port)):
                pass  # wakes who still accepts
            await asyncio.to_thread(late.start)
    finally:
        late.stop()


@asynccontextmanager
async def _starting(project: Any, log: Log) -> AsyncIterator[None]:
    process = Process(project, worker=True)
    starting = asyncio.create_task(process.start())
    await until(lambda: log.of_redis() or starting.done())
    assert not starting.done(), starting.exception()
    yield
    await starting
    await process.stop()
    assert len(log.of_redis()) == 2


# -- while running --


async def test_it_is_told_once_that_redis_goes_and_once_that_it_is_back(
    make_project: MakeProject, log: Log, late: Late
) -> None:
    """Not by each part: the exchange, the heartbeat, the election, the chores, the announcer."""
    late.start()
    settings = {"redis.url": late.url, "tasks.heartbeat": 50, "scheduler.timeout": 50}
    text = TASK + '\n@task(cron="* * * * * *")\nasync def ticks():\n    "I tick."\n'
    async with Process(make_project(settings, tasks__a=text), worker=True, scheduler=True):
        await api.tasks.enqueue("no_op")
        for _ in range(2):
            log.lines.clear()
            late.stop()
            await until(log.of_redis)
            with contextlib.suppress(StoreUnavailable, OutcomeUnknown):
                await api.tasks.enqueue("no_op")
            await asyncio.sleep(1.0)  # many have met nobody meanwhile
            await asyncio.to_thread(late.start)
            await until(lambda: len(log.of_redis()) > 1)
            place = f"Redis at redis://127.0.0.1:{late.port}/0"
            assert log.of_redis() == [
                f"cannot reach {place}; retrying",
                f"{place} is available again",
            ]
            troubles = [each for each in log.lines if "trouble" in str(each["event"])]
            assert troubles == []
            (back,) = (each for each in log.lines if "away_s" in each)
            assert back["away_s"] >= 0.9


async def test_full_memory_is_told_once(make_project: MakeProject, log: Log, redis: Any) -> None:
    """Each refused write would be a line; and where reads go on, each of them would end it."""
    text = TASK + '\n@task(cron="* * * * * *")\nasync def ticks():\n    "I tick."\n'
    settings = {"tasks.heartbeat": 50, "scheduler.timeout": 50}
    async with Process(make_project(settings, tasks__a=text), worker=True, scheduler=True):
        await redis.config_set("maxmemory", "1")
        try:
            for _ in range(20):
                with contextlib.suppress(StoreUnavailable):
                    await api.tasks.enqueue("no_op")
                await api.tasks.length("default")
        finally:
            await redis.config_set("maxmemory", "0")
        assert [each.partition(";")[0][-14:] for each in log.of_redis()] == ["fuses commands"]


async def test_passwords_are_not_told(make_project: MakeProject, log: Log, late: Late) -> None:
    """The address is masked."""
    url = late.url.replace("redis://", "redis://me:s3cret@")
    settings = {"redis.url": url, "redis.startup_timeout": SOON_MS}
    with pytest.raises(StoreUnavailable) as caught:
        await Process(make_project(settings, tasks__a=TASK), worker=True).start()

    assert log.of_redis()
    assert "s3cret" not in str(log.lines) + str(caught.value)


def test_options_tell_nothing_of_it() -> None:
    """Two of one kind are equal, whatever has become of their connections."""
    one, other = RedisOptions("redis://h"), RedisOptions("redis://h")
    one.reachability.failed(StoreUnavailable("gone"))

    assert one == other
    assert "reachability" not in repr(one)


async def test_a_stop_does_not_wait_for_it_where_nothing_ran(
    make_project: MakeProject, log: Log, late: Late
) -> None:
    """It may have given jobs that nobody heard of: they come back by the rescue, so none is lost."""
    late.start()
    settings = {"redis.url": late.url, "tasks.heartbeat": 50, "tasks.stop_timeout": 3_600_000}
    process = Process(make_project(settings, tasks__a=TASK), worker=True, scheduler=True)
    await process.start()
    await api.tasks.enqueue("no_op")
    with redis.from_url(late.url) as client:
        await until(lambda: client.get("resque:stat:processed") == b"1")
    late.stop()
    await until(log.of_redis)
    async with asyncio.timeout(60):
        await process.stop()
    told = [str(each.get("error")) for each in log.lines]
    assert [each for each in told if "last jobs" in each] == []
