"""An enqueue that nobody awaits is no job: it is refused at once, or told loudly."""

from __future__ import annotations

import asyncio
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from resqpy import Queue, Store, TrackedApi
from resqpy.base.concurrency.loops import LOST, must_be_awaited
from resqpy.base.errors import InvalidTask, NoEventLoop
from resqpy.framework.api.api import api
from resqpy.framework.process.process import Process
from resqpy.framework.tasks.task import Task, task
from resqpy.store.connection.options import RedisOptions
from tests.framework.conftest import MakeProject, until


@pytest.fixture(autouse=True)
def _none_before() -> None:
    """What another test lost is not ours."""
    LOST.clear()


@task
async def send(to: str = "") -> None:
    """A task."""


class Clean(Task):
    """Another."""

    async def run(self, days: int = 1) -> None: ...


@pytest.fixture(autouse=True)
def _no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    LOST.clear()


CALLS: dict[str, Callable[[], Any]] = {
    "task 'send': enqueue": lambda: send.enqueue(to="a"),
    "task 'send': enqueue_in": lambda: send.enqueue_in(1000, to="a"),
    "task 'send': enqueue_at": lambda: send.enqueue_at(2_000_000_000_000, to="a"),
    "task 'send': enqueue_many": lambda: send.enqueue_many([{}]),
    "task 'send': on": lambda: send.on("low").enqueue(to="a"),
    "task 'Clean': enqueue": lambda: Clean.enqueue(days=1),
    "task 'Clean': of an instance": lambda: Clean().enqueue_in(1000, days=1),
    "task 'Clean': enqueue_many": lambda: Clean.enqueue_many([{}]),
    "task 'byName': api.tasks": lambda: api.tasks.enqueue("byName", {}),
    "task 'byName': api.tasks in": lambda: api.tasks.enqueue_in(1000, "byName", {}),
    "task 'byName': api.tasks at": lambda: api.tasks.enqueue_at(2_000_000_000_000, "byName"),
    "several tasks": lambda: api.tasks.enqueue_many([("byName", {})]),
    "tracked task 'kind'": lambda: api.tracked.create("kind", {}),
}


@pytest.mark.parametrize("about", CALLS)
async def test_without_a_loop_it_raises_at_once(make_project: MakeProject, about: str) -> None:
    """In a view, a script, a plain task; with the task's name and what to do."""
    raised: list[BaseException] = []

    def view() -> None:
        try:
            CALLS[about]()
        except NoEventLoop as error:
            raised.append(error)

    async with Process(make_project(), worker=False):
        await asyncio.to_thread(view)
        thread = threading.Thread(target=view)
        thread.start()
        thread.join()

    assert len(raised) == 2
    assert about.partition(":")[0] in str(raised[0])
    for word in ("await", ".sync.", "nothing was enqueued"):
        assert word in str(raised[0])


@pytest.mark.parametrize("about", CALLS)
async def test_in_a_loop_it_is_told_loudly(
    make_project: MakeProject, caplog: pytest.LogCaptureFixture, about: str
) -> None:
    """At the level of errors, with the task's name and where the call was made; and no warning more."""
    async with Process(make_project(), worker=False):
        with caplog.at_level(logging.ERROR, "resqpy"):
            CALLS[about]()
    [record] = [each for each in caplog.records if "never awaited" in each.message]

    assert record.levelno == logging.ERROR
    assert about.partition(":")[0] in record.message
    assert __file__ in record.message
    assert list(LOST) == [record.message]


async def test_a_queue_of_its_own_tells_as_well(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the argument is called by."""
    async with Queue(redis_url) as queue:
        queue.enqueue("q", "first")  # type: ignore[unused-coroutine]
        queue.enqueue_in(1000, queue="q", class_name="second")  # type: ignore[unused-coroutine]
        queue.enqueue_many([])  # type: ignore[unused-coroutine]
    told = [each.message.partition(" was never")[0] for each in caplog.records]

    assert told == [
        "enqueue of a job of 'first'",
        "enqueue_in of a job of 'second'",
        "enqueue_many of several jobs",
    ]


async def test_whoever_awaits_hears_nothing(
    make_project: MakeProject, caplog: pytest.LogCaptureFixture
) -> None:
    """In each of the ways in which a coroutine is awaited, and by who closes it."""
    project = make_project(
        tasks__a="from resqpy import task\n@task\nasync def quick(n: int = 0): 'A.'\n"
    )
    async with Process(project, worker=False):
        quick: Any = project.registry.task("quick").defined
        assert await quick.enqueue(n=1)
        assert await asyncio.create_task(quick.enqueue(n=2))
        assert all(await asyncio.gather(quick.enqueue(n=3), quick.enqueue(n=4)))
        async with asyncio.TaskGroup() as group:
            group.create_task(quick.enqueue(n=5))
        assert await asyncio.ensure_future(quick.enqueue(n=6))
        closed: Any = quick.enqueue(n=7)
        closed.close()
        assert asyncio.iscoroutinefunction(quick.enqueue)  # so frameworks don't call it in a thread
        cancelled = asyncio.create_task(quick.enqueue(n=8))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.wait([cancelled])
        assert len(await api.tasks.queued("default")) >= 6

    assert caplog.records == []


async def test_a_coroutine_that_raises_is_a_coroutine() -> None:
    """What is thrown into it, and what it raises, comes out."""

    class Caller:
        @must_be_awaited(lambda *_: "nothing")
        async def call(self) -> None:
            raise KeyError

    with pytest.raises(KeyError):
        await Caller().call()
    with pytest.raises(LookupError):
        Caller().call().throw(LookupError())


async def test_a_plain_task_of_a_worker_fails_with_the_remedy(make_project: MakeProject) -> None:
    """Not a success that enqueued nothing."""
    project = make_project(
        tasks__a="""
        from resqpy import task

        @task
        async def other(): "Other."

        @task
        def plain():
            "It can't await."
            other.enqueue()
        """
    )
    async with Process(project, worker=True):
        await api.tasks.enqueue("plain")
        await until(api.tasks.failed_count)
        [failed] = await api.tasks.failed()
    assert failed.exception == "NoEventLoop"


async def test_a_handler_with_a_yield_is_refused(redis_url: str) -> None:
    """It would be called, and nothing of it would run."""

    async def handler(_: Any) -> Any:
        yield 1

    async with TrackedApi(Store(RedisOptions(redis_url))) as tracked:
        with pytest.raises(InvalidTask, match="handler of 'kind'"):
            await tracked.listen("kind", handler)
        await tracked.store.close()


def test_a_listener_may_be_without_a_registry(redis_url: str) -> None:
    """The verbs of tracked tasks without a project are guarded alike."""
    with pytest.raises(NoEventLoop, match="tracked task 'kind'"):
        TrackedApi(Store(RedisOptions(redis_url))).create("kind")  # type: ignore[unused-coroutine]
