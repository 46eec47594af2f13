"""The synchronous door: every verb, from any thread, in every process."""

from __future__ import annotations

import asyncio
import gc
import inspect
import multiprocessing
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from redis import Redis

from resqpy.base.errors import InvalidJob, OutcomeUnknown, ResqpyError, StoreUnavailable, UsageError
from resqpy.base.model import FailedJob
from resqpy.engine.inspect.inspector import Resque
from resqpy.engine.plugin import Enqueuing, Plugin
from resqpy.framework.api.blocking import SyncFacade, SyncQueue, SyncVerb
from resqpy.framework.api.loop_thread import LOOP_THREAD
from resqpy.store.connection.options import RedisOptions
from tests.support.inspecting import failed_entry

FORK = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


@pytest.fixture
def door(redis_url: str) -> Iterator[SyncQueue]:
    """A door to the test's Redis."""
    with SyncQueue(redis_url) as opened:
        yield opened


@pytest.fixture
def plain(redis_url: str) -> Iterator[Any]:
    """A synchronous client of the test's Redis."""
    with Redis.from_url(redis_url) as client:
        yield client


def test_it_has_every_verb() -> None:
    """What `Resque` can do, the door can do: a verb that is added there is missed here."""
    life = {"close", "end"}
    hooks = {"before_enqueue", "after_enqueue"}
    assert all(inspect.isfunction(inspect.getattr_static(SyncQueue, name)) for name in life)
    for name, member in inspect.getmembers(Resque):
        if name.startswith("_") or name in life | hooks:
            continue
        if inspect.iscoroutinefunction(inspect.unwrap(member)) or inspect.isasyncgenfunction(
            member
        ):
            assert isinstance(inspect.getattr_static(SyncQueue, name), SyncVerb), name


def test_a_verb_shows_its_parameters_and_words(door: SyncQueue) -> None:
    """`help()` and completion work."""
    assert inspect.signature(door.enqueue) == inspect.signature(Resque(None).enqueue)
    assert list(inspect.signature(door.length).parameters) == ["queue"]
    assert door.enqueue.__doc__ == Resque.enqueue.__doc__
    assert isinstance(SyncQueue.enqueue, SyncVerb)
    assert SyncQueue.each_failed.__doc__ == Resque.each_failed.__doc__


def test_enqueue_look_and_delete(door: SyncQueue, plain: Any) -> None:
    """Both sides through one door."""
    door.connect()
    assert door.enqueue("q", "Echo", [1])
    assert door.enqueue_many([("q", "Echo", [n]) for n in range(3)]) == [True] * 3

    assert door.details()["queues"] == {"q": 4}
    assert [job.args for job in door.queued("q", 0, 1)] == [[1], [0]]
    assert door.delete("q", "Echo", [1]) == 2
    assert plain.llen("resque:queue:q") == 2


def test_errors_come_through(door: SyncQueue) -> None:
    """What the async verb raises is raised here."""
    with pytest.raises(UsageError, match=r"args\[0\]"):
        door.enqueue("q", "Echo", [object()])
    with pytest.raises(InvalidJob, match=r"job 1 .*: 'abc' is not \(queue, class_name, args\)"):
        door.enqueue_many([("q", "Echo", []), "abc"])  # type: ignore[list-item]


def test_a_walk(door: SyncQueue, plain: Any) -> None:
    """An async iterator is an iterator here; what it shows may be removed while it walks."""
    plain.rpush("resque:failed", *(failed_entry(worker=f"h:{n}:q") for n in range(700)))
    seen = []

    for entry in door.each_failed(exception="Error"):
        assert isinstance(entry, FailedJob)
        seen.append(entry.worker)
        if len(seen) % 2:
            door.remove_failed(entry)

    assert seen == [f"h:{n}:q" for n in range(700)]
    assert door.failed_count() == 350


def test_a_walk_may_be_left(door: SyncQueue) -> None:
    """Nothing stays open behind a `break`."""
    door.enqueue_many([("q", "Echo", [n]) for n in range(300)])
    walk = door.each_queued("q")
    assert [next(walk).args for _ in range(2)] == [[0], [1]]
    del walk
    assert door.length("q") == 300


def test_threads_share_one_connection(door: SyncQueue, plain: Any) -> None:
    """Many threads at once: every job is there once, and they need one connection."""
    before = plain.info("clients")["connected_clients"]

    def work(number: int) -> int:
        return sum(door.enqueue("q", "Echo", [number, n]) for n in range(50))

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(work, range(16))) == 800

    assert plain.info("clients")["connected_clients"] <= before + 1
    jobs = {tuple(job.args) for job in door.each_queued("q")}
    assert jobs == {(number, n) for number in range(16) for n in range(50)}


async def test_inside_a_running_loop(redis_url: str) -> None:
    """It works (in a notebook, say), and only holds up that loop for so long."""
    with SyncQueue(redis_url) as door:
        assert door.enqueue("q", "Echo", [1])
        assert await asyncio.to_thread(door.length, "q") == 1


class Nested(Plugin):
    """A hook that uses the door it runs behind."""

    door: SyncQueue

    def __init__(self) -> None:
        super().__init__()

    async def before_enqueue(self, job: Enqueuing) -> bool:
        """Enqueue another."""
        return self.door.enqueue("q", "Other")


def test_a_hook_can_not_wait_for_itself(redis_url: str) -> None:
    """It is told what to do, instead of waiting for ever."""
    hook = Nested()
    with SyncQueue(redis_url, {"Echo": {"perform": print, "plugins": [hook]}}) as door:
        hook.door = door
        with pytest.raises(UsageError, match="inside one of its own hooks"):
            door.enqueue("q", "Echo")


def test_a_store_can_not_be_shared(redis_url: str) -> None:
    """A connection belongs to its loop."""
    with pytest.raises(UsageError, match="RedisOptions"):
        SyncQueue(Resque(redis_url).store)  # type: ignore[arg-type]


def test_a_call_that_takes_too_long(redis_url: str) -> None:
    """It raises, and says that the outcome is not known."""

    class Slow(Resque):
        async def length(self, queue: str) -> int:
            """Never answer."""
            await asyncio.sleep(3600)
            return 0

    with (
        SyncQueue(timeout=20, make=lambda: Slow(redis_url)) as door,
        pytest.raises(OutcomeUnknown, match=r"no answer within 0\.02 s"),
    ):
        door.length("q")


def test_a_timeout_of_the_work_itself_is_no_timeout_of_the_door(redis_url: str) -> None:
    """What a hook raises comes through as it is."""

    class Late(Resque):
        async def length(self, queue: str) -> int:
            """Fail."""
            raise TimeoutError("mine")

    with SyncQueue(make=lambda: Late(redis_url)) as door, pytest.raises(TimeoutError, match="mine"):
        door.length("q")


def test_nobody_there() -> None:
    """No Redis: a clear error, when the time of a start is over."""
    with (
        SyncQueue(RedisOptions(url="redis://127.0.0.1:1", startup_timeout_s=0.3)) as door,
        pytest.raises(StoreUnavailable),
    ):
        door.enqueue("q", "Echo")


def test_close_and_use_again(redis_url: str, plain: Any) -> None:
    """Closing ends the connection; the next call opens another."""
    before = plain.info("clients")["connected_clients"]
    door = SyncQueue(redis_url)
    door.close()
    door.enqueue("q", "Echo")
    assert plain.info("clients")["connected_clients"] == before + 1
    door.close()
    _soon(lambda: plain.info("clients")["connected_clients"] == before)
    assert door.length("q") == 1
    door.close()


def test_a_door_that_is_ended_or_dropped_is_closed(redis_url: str, plain: Any) -> None:
    """Its connection goes with it."""
    before = {each["id"] for each in plain.client_list()}  # others may end meanwhile
    door = SyncQueue(redis_url)
    door.enqueue("q", "Echo")
    assert {each["id"] for each in plain.client_list()} - before
    door.end()
    _soon(lambda: {each["id"] for each in plain.client_list()} <= before)
    door.enqueue("q", "Echo")
    del door
    gc.collect()
    _soon(lambda: {each["id"] for each in plain.client_list()} <= before)


def test_closing_the_loop_itself(redis_url: str) -> None:
    """At the end of the interpreter all connections are closed; who goes on gets a new loop."""
    door = SyncQueue(redis_url)
    door.enqueue("q", "Echo")
    walk = door.each_queued("q")
    next(walk)
    thread = LOOP_THREAD.life().thread

    LOOP_THREAD.close()

    assert not thread.is_alive()
    with pytest.raises(UsageError, match="start over"):
        list(walk)
    assert door.length("q") == 1
    door.close()


def test_a_call_that_is_closed_upon(redis_url: str) -> None:
    """Who waits when the loop ends is told that nothing is known."""
    entered = threading.Event()

    class Stuck(Resque):
        async def length(self, queue: str) -> int:
            """Never answer."""
            entered.set()
            await asyncio.sleep(3600)
            return 0

    door = SyncQueue(make=lambda: Stuck(redis_url))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(door.length, "q")
        entered.wait(5)
        LOOP_THREAD.close()
        with pytest.raises(OutcomeUnknown):
            waiting.result(5)


def test_any_async_object_can_stand_behind_a_door() -> None:
    """The mechanism knows nothing of queues."""

    class Counter:
        def __init__(self) -> None:
            self.count = 0

        async def add(self, more: int) -> int:
            """Count."""
            self.count += more
            return self.count

        async def close(self) -> None:
            """Nothing to close."""

    class SyncCounter(SyncFacade):
        add = SyncVerb(Counter.add)

    with SyncCounter(Counter) as door:
        assert [door.add(1), door.add(more=2)] == [1, 3]


# -- processes --


def in_child(work: Callable[[], None]) -> int:
    """Fork, do the work in the child, return its exit code."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@FORK
def test_a_forked_child_enqueues(door: SyncQueue) -> None:
    """Before and after a fork, in parent, child and grandchild, alternately."""
    door.enqueue("q", "Echo", ["parent"])

    def grandchild() -> None:
        door.enqueue("q", "Echo", ["grandchild"])

    def child() -> None:
        door.enqueue("q", "Echo", ["child"])
        assert in_child(grandchild) == 0
        door.enqueue("q", "Echo", ["child again"])
        door.close()

    assert in_child(child) == 0
    door.enqueue("q", "Echo", ["parent again"])
    assert [job.args[0] for job in door.each_queued("q")] == [
        "parent", "child", "grandchild", "child again", "parent again",
    ]  # fmt: skip


@FORK
def test_a_walk_does_not_cross_a_fork(door: SyncQueue) -> None:
    """The child is told to start over; the parent goes on."""
    door.enqueue_many([("q", "Echo", [n]) for n in range(250)])
    walk = door.each_queued("q")
    next(walk)

    def child() -> None:
        with pytest.raises(UsageError, match="start over"):
            list(walk)
        assert len(list(door.each_queued("q"))) == 250

    assert in_child(child) == 0
    assert len(list(walk)) == 249


@FORK
def test_forks_while_threads_enqueue(door: SyncQueue, plain: Any) -> None:
    """A prefork server with busy threads: no child hangs, no job of the parent is lost."""
    stop, done = threading.Event(), [0]

    def busy() -> None:
        while not stop.is_set():
            done[0] += door.enqueue("busy", "Echo")

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        children = [in_child(lambda n=n: _enqueue(door, n)) for n in range(8)]  # type: ignore[misc]
    finally:
        stop.set()
        thread.join()

    assert children == [0] * 8
    assert plain.llen("resque:queue:q") == 80
    assert plain.llen("resque:queue:busy") == done[0] > 0


def _enqueue(door: SyncQueue, number: int) -> None:
    for n in range(10):
        assert door.enqueue("q", "Echo", [number, n])


@FORK
def test_multiprocessing(door: SyncQueue) -> None:
    """Processes that inherited the door, and end as Python ends."""
    door.enqueue("q", "Echo", ["first"])
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_enqueue, args=(door, n)) for n in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join(20)

    assert [child.exitcode for child in children] == [0] * 4
    assert door.length("q") == 41


def test_a_script_ends_by_itself(redis_url: str, plain: Any) -> None:
    """No close() needed: the interpreter ends at once, without a warning, and closes all."""
    script = textwrap.dedent(
        f"""
        from resqpy.framework.api.blocking import SyncQueue
        queue = SyncQueue({redis_url!r})
        queue.enqueue("q", "Echo", [1])
        walk = queue.each_queued("q")
        next(walk)
        """
    )
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert plain.llen("resque:queue:q") == 1


def test_an_unknown_verb_is_an_attribute_error(door: SyncQueue) -> None:
    """Nothing is guessed."""
    with pytest.raises(AttributeError):
        door.enqeue("q", "Echo")  # type: ignore[attr-defined]
    assert issubclass(OutcomeUnknown, ResqpyError)


def _soon(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("not within 5 s")
