"""What does not end when it is cancelled is cut off: its job ends, its slot goes on, and it is told."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, ClassVar

import pytest

from resqpy import Queue
from resqpy.base.errors import HookTimeout
from resqpy.engine.plugin import Plugin
from resqpy.engine.role import State
from resqpy.engine.run import current_run
from tests.support.waiting import wait_for
from tests.support.working import working

Perform = Callable[[], Awaitable[Any]]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off after hundredths of a second."""
    for module in ("base.concurrency.limited", "engine.worker.running", "engine.plugin"):
        monkeypatch.setattr(f"resqpy.{module}.GRACE_S", 0.05)
    monkeypatch.setattr("resqpy.engine.worker.threads._END_WITHIN_S", 0.05)


class Stubborn:
    """Coroutines that swallow each cancellation until `over`."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.begun = asyncio.Event()

    async def itself(self) -> None:
        """Swallow it."""
        self.begun.set()
        while not self.over.is_set():
            try:
                await self.over.wait()
            except BaseException:
                continue

    async def in_a_child(self) -> None:
        """Await a task that swallows it."""
        await asyncio.create_task(self.itself())

    async def in_a_group(self) -> None:
        """The same in a task group."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.itself())

    async def in_finally(self) -> None:
        """Never end to clean up."""
        self.begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            await self.itself()


@pytest.fixture
async def stubborn() -> AsyncIterator[Stubborn]:
    """Coroutines that end with the test."""
    made = Stubborn()
    yield made
    made.over.set()
    await asyncio.sleep(0)


async def fine() -> str:
    """A task."""
    return "fine"


async def failed(redis: Any) -> list[dict[str, Any]]:
    """The failed entries."""
    return [json.loads(raw) for raw in await redis.lrange("resque:failed", 0, -1)]


KINDS = ["itself", "in_a_child", "in_a_group", "in_finally"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_time_limit_holds(
    redis_url: str, redis: Any, stubborn: Stubborn, kind: str
) -> None:
    """The job fails as JobTimeout, its only slot takes the next, and what goes on is counted and told."""
    jobs = {"bad": {"perform": getattr(stubborn, kind), "time_limit": 50}, "fine": fine}
    async with Queue(redis_url) as queue, working(redis_url, jobs, "q") as work:
        await queue.enqueue_many([("q", "bad", []), ("q", "fine", [])])
        await work.until(2)
        assert [entry["exception"] for entry in await failed(redis)] == ["JobTimeout"]
        left = work.worker.pool.runner.left
        assert left.coroutines == 1
        assert "job bad was cut off" in work.errors
        stubborn.over.set()
        await wait_for(lambda: left.coroutines == 0)


async def test_it_is_tried_again(redis_url: str, redis: Any, stubborn: Stubborn) -> None:
    """Plugins hear of it as of any failure."""
    options = {"Retry": {"retry_limit": 3, "retry_delay": 60_000}}
    bad = {"perform": stubborn.itself, "time_limit": 50, "plugins": ["Retry"]}
    jobs = {"bad": {**bad, "plugin_options": options}}
    async with Queue(redis_url) as queue, working(redis_url, jobs, "q") as work:
        await queue.enqueue("q", "bad")
        await wait_for(lambda: work.args("re_enqueue"))
        assert type(work.args("re_enqueue")[0][3]["err"]).__name__ == "JobTimeout"
        assert not await failed(redis)


async def test_an_error_of_the_clean_up_is_a_timeout(redis_url: str, redis: Any) -> None:
    """What a task makes of its cancellation does not hide why it was cancelled."""

    async def bad() -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            raise ValueError("clean up") from None

    async with (
        Queue(redis_url) as queue,
        working(redis_url, {"bad": {"perform": bad, "time_limit": 50}}, "q") as work,
    ):
        await queue.enqueue("q", "bad")
        await work.until(1)
    [entry] = await failed(redis)
    assert entry["exception"] == "JobTimeout"
    assert any("ValueError: clean up" in line for line in entry["backtrace"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("limited", [False, True])
async def test_a_cancellation_on_request_holds(
    redis_url: str, redis: Any, stubborn: Stubborn, kind: str, limited: bool
) -> None:
    """The job fails as JobCancelled, and the slot goes on."""
    bad: dict[str, Any] = {"perform": getattr(stubborn, kind)}
    if limited:
        bad["time_limit"] = 3_600_000
    async with (
        Queue(redis_url) as queue,
        working(redis_url, {"bad": bad, "fine": fine}, "q") as work,
    ):
        await queue.enqueue_many([("q", "bad", []), ("q", "fine", [])])
        await stubborn.begun.wait()
        assert work.worker.cancel(str(work.worker.worker_ids[0]))
        await work.until(2)
        assert [entry["exception"] for entry in await failed(redis)] == ["JobCancelled"]
        assert work.worker.pool.runner.left.coroutines == 1
        stubborn.over.set()
        await wait_for(lambda: not work.worker.pool.runner.left.coroutines)


async def test_a_stop_counts_it(redis_url: str, redis: Any, stubborn: Stubborn) -> None:
    """The job goes back, and the coroutine is told."""
    async with (
        Queue(redis_url) as queue,
        working(
            redis_url, {"bad": stubborn.itself}, "q", stop_timeout_s=0.01, cancel_timeout_s=0.05
        ) as work,
    ):
        await queue.enqueue("q", "bad")
        await stubborn.begun.wait()
    assert await redis.llen("resque:queue:q") == 1
    assert "was cut off" in work.errors


async def test_threads_are_counted(redis_url: str, redis: Any) -> None:
    """A plain function that goes on is one that is left, until it ends."""
    over = threading.Event()

    def bad() -> None:
        while not over.is_set():
            try:
                time.sleep(0.01)
            except BaseException:
                continue

    jobs = {"bad": {"perform": bad, "time_limit": 50}, "fine": fine}
    async with Queue(redis_url) as queue, working(redis_url, jobs, "q") as work:
        await queue.enqueue_many([("q", "bad", []), ("q", "fine", [])])
        await work.until(2)
        left = work.worker.pool.runner.left
        assert left.functions == 1
        assert "a plain function in a thread was cut off" in work.errors
        over.set()
        await wait_for(lambda: left.functions == 0)


async def test_too_many_of_them_end_the_worker(
    redis_url: str, redis: Any, stubborn: Stubborn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a new process is rid of them: it dies with that as its cause, and loses nothing."""
    monkeypatch.setattr("resqpy.engine.worker.threads.MAXIMUM", 3)
    jobs = {"bad": {"perform": stubborn.itself, "time_limit": 20}}
    async with Queue(redis_url) as queue, working(redis_url, jobs, "q") as work:
        await queue.enqueue_many([("q", "bad", [])] * 6)
        with pytest.raises(Exception, match="must be restarted"):
            await work.worker.wait()
        assert work.worker.state is State.DIED
    assert len(await failed(redis)) + await redis.llen("resque:queue:q") == 6


# -- a cancellation that nobody asked for --


async def leaks() -> None:
    """Await something that somebody else cancelled."""
    other = asyncio.create_task(asyncio.sleep(3600))
    other.cancel()
    await other


async def raises_it() -> None:
    """Raise it."""
    raise asyncio.CancelledError


async def cancels_itself() -> None:
    """Cancel its own task."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(3600)


async def groups_it() -> None:
    """Raise it in a group."""
    raise BaseExceptionGroup("group", [asyncio.CancelledError(), SystemExit(1)])


async def exits() -> None:
    """Leave."""
    raise SystemExit(3)


async def generator_exit() -> None:
    """Raise it."""
    raise GeneratorExit


TASKS = [leaks, raises_it, cancels_itself, groups_it, exits, generator_exit]


@pytest.mark.parametrize("limited", [False, True])
@pytest.mark.parametrize("where", ["task", "plugin"])
@pytest.mark.parametrize("task", TASKS, ids=lambda task: str(task.__name__))
async def test_it_is_an_ordinary_failure(
    redis_url: str, redis: Any, task: Perform, where: str, limited: bool
) -> None:
    """It is retried as any other, with its own class, and then the plugins and the next job go on."""

    class Raises(Plugin):
        async def before_perform(self, run: Any) -> bool:
            if where == "plugin":
                await task()
            await asyncio.sleep(0)  # nothing of a cancellation is left
            return True

        async def after_perform(self, run: Any) -> None:
            await asyncio.sleep(0)

    options = {"Retry": {"retry_limit": 3, "retry_delay": 60_000}}
    bad = {"perform": task, "plugins": ["Retry", Raises], "plugin_options": options}
    if limited:
        bad["time_limit"] = 60_000
    jobs = {"bad": bad, "fine": fine}
    async with Queue(redis_url) as queue, working(redis_url, jobs, "q") as work:
        await queue.enqueue_many([("q", "bad", []), ("q", "fine", [])])
        await wait_for(lambda: work.args("re_enqueue") and work.args("success"))
        assert not work.args("failure")


# -- hooks --


class Hangs(Plugin):
    """Hangs in one of its hooks."""

    hook_timeout: ClassVar[Any] = 30
    where: ClassVar[str] = ""
    hang: ClassVar[Perform]

    async def before_enqueue(self, job: Any) -> bool:
        if self.where == "before_enqueue":
            await type(self).hang()
        return True

    async def after_enqueue(self, job: Any) -> None:
        if self.where == "after_enqueue":
            await type(self).hang()

    async def before_perform(self, run: Any) -> bool:
        if self.where == "before_perform":
            await type(self).hang()
        return True

    async def after_perform(self, run: Any) -> None:
        if self.where == "after_perform":
            await type(self).hang()


async def forever() -> None:
    """Wait, and end when it is cancelled."""
    await asyncio.sleep(3600)


@pytest.mark.parametrize("swallows", [False, True])
@pytest.mark.parametrize("where", ["before_perform", "after_perform"])
async def test_a_hook_of_a_run_that_hangs(
    redis_url: str, redis: Any, stubborn: Stubborn, where: str, swallows: bool
) -> None:
    """The job fails, its only slot goes on."""

    class Hanging(Hangs):
        hang = staticmethod(stubborn.itself if swallows else forever)

    Hanging.where = where
    jobs = {"bad": {"perform": fine, "plugins": [Hanging]}, "fine": fine}
    async with Queue(redis_url) as queue, working(redis_url, jobs, "q") as work:
        await queue.enqueue_many([("q", "bad", []), ("q", "fine", [])])
        await work.until(2)
    [entry] = await failed(redis)
    assert entry["exception"] == "HookTimeout"
    when = "before" if where.startswith("before") else "after"
    assert f"{when} the run of" in entry["error"]


async def test_the_job_itself_does_not_count(redis_url: str, redis: Any) -> None:
    """A plugin that stands around a long job is not late."""

    class Around(Plugin):
        hook_timeout: ClassVar[Any] = 30

        async def around(self, run: Any, call_next: Any) -> None:
            await call_next()

    async def long() -> None:
        await asyncio.sleep(0.3)

    jobs = {"long": {"perform": long, "plugins": [Around]}}
    async with Queue(redis_url) as queue, working(redis_url, jobs, "q") as work:
        await queue.enqueue("q", "long")
        await work.until(1)
        assert len(work.args("success")) == 1


@pytest.mark.parametrize("swallows", [False, True])
@pytest.mark.parametrize("where", ["before_enqueue", "after_enqueue"])
async def test_a_hook_of_an_enqueue_that_hangs(
    redis_url: str, redis: Any, stubborn: Stubborn, where: str, swallows: bool
) -> None:
    """Who enqueues is told, and does not hang."""

    class Hanging(Hangs):
        hang = staticmethod(stubborn.itself if swallows else forever)

    Hanging.where = where
    jobs = {"bad": {"perform": fine, "plugins": [Hanging]}}
    async with Queue(redis_url, jobs) as queue:
        with pytest.raises(HookTimeout, match="Hanging"):
            await queue.enqueue("q", "bad")
    assert await redis.llen("resque:queue:q") == (where == "after_enqueue")


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("plain", [False, True])
async def test_a_run_is_freed_at_once(redis_url: str, redis: Any, plain: bool, fails: bool) -> None:
    """Nothing of it refers to itself, which would leave it to the garbage collector: that costs as much
    as half of a small run.
    """
    runs: list[weakref.ref[Any]] = []

    def plainly() -> None:
        runs.append(weakref.ref(current_run.get()))
        if fails:
            raise ValueError

    async def noted() -> None:
        plainly()

    gc.disable()
    try:
        jobs = {"t": plainly if plain else noted}
        async with Queue(redis_url) as queue, working(redis_url, jobs, "q") as work:
            await queue.enqueue_many([("q", "t", [])] * 5)
            await work.until(5)
            work.told.clear()
            await queue.enqueue("q", "t", [])
            await work.until(1)
            assert [each() is None for each in runs[:5]] == [True] * 5
    finally:
        gc.enable()
