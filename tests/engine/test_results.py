"""What has yet to run is no success, however it hides; and what is under way is waited for."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import gc
import threading
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from typing import Any

import pytest

from resqpy import Queue, Worker
from resqpy.base.errors import InvalidTask, TaskUnfinished
from resqpy.engine.definition import define
from tests.support.working import working

RAN: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    RAN.clear()


async def work() -> str:
    """A task."""
    RAN.append("work")
    return "done"


def steps() -> Iterator[int]:
    """A generator."""
    RAN.append("steps")
    yield 1


async def async_steps() -> AsyncIterator[int]:
    """An async generator."""
    RAN.append("async_steps")
    yield 1


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that hands on what it gets."""

    @functools.wraps(function)
    def inner(*args: Any) -> Any:
        return function(*args)

    return inner


def wrapped_async(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that forgets its `await`."""

    @functools.wraps(function)
    async def inner(*args: Any) -> Any:
        return function(*args)

    return inner


class Later:
    """Something to be awaited that is no coroutine."""

    def __await__(self) -> Generator[Any, None, str]:
        RAN.append("later")
        return asyncio.sleep(0, "late").__await__()


class Called:
    """An object whose call only makes a generator."""

    def __call__(self) -> Any:
        return steps()


class CalledAsync:
    """An object whose async call forgets its `await`."""

    async def __call__(self) -> Any:
        return work()


def _of_another_loop() -> Any:
    loop = asyncio.new_event_loop()
    try:
        return loop.create_future()
    finally:
        loop.close()


async def _async_of_another_loop() -> Any:
    return _of_another_loop()


UNFINISHED = {
    "a yield behind wraps": wrapped(steps),
    "an async yield behind wraps": wrapped(async_steps),
    "a yield behind an async wrapper": wrapped_async(steps),
    "no await in an async wrapper": wrapped_async(work),
    "two wrappers, one without await": wrapped(wrapped_async(work)),
    "a plain function that returns a generator": lambda *_: steps(),
    "a generator expression": lambda: (RAN.index(str(each)) for each in range(3)),
    "a partial of a wrapper": functools.partial(wrapped(steps)),
    "an object": Called(),
    "an object with an async call": CalledAsync(),
    "something to be awaited": Later,
    "a future of another loop": _of_another_loop,
    "a future of another loop from an async function": _async_of_another_loop,
}


@pytest.mark.parametrize("kind", UNFINISHED)
async def test_what_has_yet_to_run_fails(redis_url: str, redis: Any, kind: str) -> None:
    """In a worker and inline; without a warning of Python's."""
    task = UNFINISHED[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with Queue(redis_url) as queue, working(redis_url, {"t": task}, "q") as running:
            await queue.enqueue("q", "t")
            await running.until(1)
        worker = Worker(redis_url, {"t": task}, "q")
        with pytest.raises(TaskUnfinished, match="the task returned a "):
            await worker.perform_inline("t")
        await worker.stop()
        gc.collect()

    assert RAN == []
    assert running.args("success") == []
    [(_, _, _, error, _)] = running.args("failure")
    assert isinstance(error, TaskUnfinished)
    assert await redis.llen("resque:failed") == 1


async def test_what_is_under_way_is_waited_for(redis_url: str) -> None:
    """Coroutines of plain functions, tasks and futures of the worker's loop, futures of threads."""
    loop = asyncio.get_running_loop()

    async def as_a_task() -> Any:
        return asyncio.create_task(work())

    def in_the_loop() -> Any:
        return asyncio.run_coroutine_threadsafe(work(), loop)

    def in_a_thread() -> Any:
        future: concurrent.futures.Future[str] = concurrent.futures.Future()
        threading.Timer(0.05, lambda: future.set_result("done")).start()
        return future

    async def twice() -> Any:
        return loop.create_task(asyncio.sleep(0, asyncio.ensure_future(work())))

    jobs: dict[str, Callable[[], Any]] = {
        "plain": lambda *_: work(),
        "task": as_a_task,
        "in_the_loop": in_the_loop,
        "in_a_thread": in_a_thread,
        "twice": twice,
    }
    async with Queue(redis_url) as queue, working(redis_url, jobs, "q") as running:
        await queue.enqueue_many([("q", name, []) for name in jobs])
        await running.until(len(jobs))

    assert [args[3] for args in running.args("success")] == ["done"] * len(jobs)


async def test_a_future_that_fails_fails_the_job(redis_url: str) -> None:
    """Its error is the job's."""

    async def fails() -> None:
        raise KeyError("no such thing")

    async def task() -> Awaitable[None]:
        return asyncio.create_task(fails())

    async with Queue(redis_url) as queue, working(redis_url, {"t": task}, "q") as running:
        await queue.enqueue("q", "t")
        await running.until(1)

    [(_, _, _, error, _)] = running.args("failure")
    assert isinstance(error, KeyError)


@pytest.mark.parametrize(
    "task", [steps, async_steps, functools.partial(steps), type("T", (), {"__call__": lambda _: 1})]
)
def test_a_yield_that_can_be_seen_is_refused_at_once(task: Any) -> None:
    """Before any job comes; an object that returns is fine."""
    if isinstance(task, type):
        assert define("t", task()).perform is not None
        return
    with pytest.raises(InvalidTask, match="generator"):
        define("t", task)


def test_an_object_whose_call_has_a_yield_is_refused() -> None:
    """It is looked at, not only its class."""

    class Yields:
        def __call__(self) -> Iterator[int]:
            yield 1

    with pytest.raises(InvalidTask, match="generator"):
        define("t", Yields())
