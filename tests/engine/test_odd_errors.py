"""Jobs whose errors can't be shown: they end as any other, are tried again as any other, and the
worker goes on.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from resqpy import Queue
from resqpy.engine.plugin import Plugin
from tests.support.waiting import wait_for
from tests.support.working import working


class Odd(Exception):
    """Raises what it was given when it is asked for words."""

    def __init__(self, inner: type[BaseException]) -> None:
        super().__init__()
        self.inner = inner

    def __str__(self) -> str:
        raise self.inner

    __repr__ = __str__


async def fine() -> str:
    """A task."""
    return "fine"


@pytest.mark.parametrize(
    "inner", [AttributeError, SystemExit, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit]
)
@pytest.mark.parametrize("place", ["task", "thread", "plugin"])
async def test_the_job_fails_and_the_worker_goes_on(
    redis_url: str, redis: Any, inner: type[BaseException], place: str
) -> None:
    """The failed entry says what can be said."""

    async def task() -> None:
        if place == "task":
            raise Odd(inner)

    def in_thread() -> None:
        raise Odd(inner)

    class Raises(Plugin):
        async def after_perform(self, run: Any) -> None:
            if place == "plugin":
                raise Odd(inner)

    perform = in_thread if place == "thread" else task
    jobs = {"odd": {"perform": perform, "plugins": [Raises]}, "fine": fine}
    async with Queue(redis_url) as queue, working(redis_url, jobs, "q") as work:
        await queue.enqueue_many([("q", "odd", []), ("q", "fine", [])])
        await work.until(2)
    [entry] = [json.loads(raw) for raw in await redis.lrange("resque:failed", 0, -1)]
    assert entry["exception"] == "Odd"
    assert entry["error"] == f"<the error's own __str__ raised {inner.__name__}>"
    assert work.args("success")[0][3] == "fine"


@pytest.mark.parametrize("inner", [AttributeError, SystemExit])
async def test_it_is_tried_again(redis_url: str, redis: Any, inner: type[BaseException]) -> None:
    """The retry counts, delays, and leaves no counter behind once it is over."""
    runs: list[int] = []

    async def task() -> None:
        runs.append(1)
        if len(runs) == 1:
            raise Odd(inner)

    options = {"Retry": {"retry_limit": 3, "retry_delay": 1}}
    jobs = {"odd": {"perform": task, "plugins": ["Retry"], "plugin_options": options}}
    async with Queue(redis_url) as queue, working(redis_url, jobs, "q") as work:
        await queue.enqueue("q", "odd", [])
        await wait_for(lambda: work.args("re_enqueue"))
        [raw] = await redis.keys("resque:failure-resque-retry:*")
        kept = json.loads(await redis.get(raw))
        assert kept["error"] == f"Odd: <the error's own __str__ raised {inner.__name__}>"
        [delayed] = await redis.keys("resque:delayed:*")
        await redis.rpush("resque:queue:q", await redis.lpop(delayed))
        await work.until(1)
    assert not await redis.keys("resque:*resque-retry*")


async def test_notes_that_are_no_list(redis_url: str, redis: Any) -> None:
    """They cost neither the entry nor the words."""

    async def task() -> None:
        error = ValueError("words")
        error.__notes__ = 5  # type: ignore[assignment]
        raise error

    async with Queue(redis_url) as queue, working(redis_url, {"odd": task}, "q") as work:
        await queue.enqueue("q", "odd", [])
        await work.until(1)
    [entry] = [json.loads(raw) for raw in await redis.lrange("resque:failed", 0, -1)]
    assert entry["error"] == "words"
