"""Rails' ActiveJob on the real resque and resque-scheduler: each side works, lists, removes the other's jobs."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from resqpy import Queue
from resqpy.contrib.activejob import ActiveJob, Symbol
from resqpy.diagnosis.workers import all_workers
from resqpy.engine.inspect.inspector import Resque
from tests.support.foreign import RubyDriver
from tests.support.scheduling import StartScheduler
from tests.support.waiting import wait_for
from tests.support.working import working

LATER_S = int(time.time()) + 100_000
ECHO = ActiveJob("RailsEcho", queue="interop")


@pytest.fixture
async def resque(redis_url: str) -> AsyncIterator[Resque]:
    """Our side."""
    async with Resque(redis_url) as both:
        yield both


async def ran(redis: Any) -> list[Any]:
    """What Rails has performed."""
    return [json.loads(each)["args"] for each in await redis.lrange("interop:ran", 0, -1)]


async def send(url: str, *args: Any, at_ms: int | None = None, **keywords: Any) -> None:
    """Enqueue one of ours for Rails."""
    async with Queue(url) as queue:
        job = ECHO.job(*args, **keywords)
        assert await (queue.enqueue(*job) if at_ms is None else queue.enqueue_at(at_ms, *job))


async def test_rails_enqueues_and_we_work(rails_ruby: RubyDriver, redis_url: str) -> None:
    """By its class; symbols and keywords are what they are in its wrapper."""
    await rails_ruby.call("rails.enqueue_keywords", "hi")
    seen: list[Any] = []
    async with working(
        redis_url, {"RailsEcho": lambda *args: seen.append(args)}, "interop"
    ) as work:
        await work.until(1)
    assert seen == [("hi", {"note": "hi"})]


async def test_we_enqueue_and_rails_works(
    rails_ruby: RubyDriver, redis_url: str, redis: Any
) -> None:
    """In Ruby's worker."""
    await send(redis_url, 1.5, Symbol("word"), note="hi")
    await rails_ruby.call("worker.drain")
    assert await ran(redis) == [["1.5", "word", {"note": "hi"}]]
    assert await redis.llen("resque:failed") == 0


async def test_what_failed_is_repaired_by_both(
    rails_ruby: RubyDriver, resque: Resque, redis_url: str
) -> None:
    """We list and retry what failed in Rails by its class, and Ruby what failed here."""
    await rails_ruby.call("rails.enqueue", "fail")
    await rails_ruby.call("worker.drain")
    [entry] = await resque.failed()
    assert (entry.class_name, entry.exception, entry.args) == (
        "RailsEcho",
        "ArgumentError",
        ["fail"],
    )
    assert await resque.retry_all_failed(class_name="RailsEcho") == 1

    async with working(
        redis_url, {"RailsEcho": lambda *_: 1 / 0}, "interop", events=("failure",)
    ) as work:
        await work.until(1)
    [shown] = await rails_ruby.call("failure.all")
    assert shown["payload"]["args"][0]["job_class"] == "RailsEcho"
    await rails_ruby.call("failure.requeue", 0)
    await rails_ruby.call("failure.remove", 0)
    await rails_ruby.call("worker.drain")
    assert [each.exception for each in await resque.failed()] == ["ArgumentError"]


async def test_delayed_by_rails_promoted_by_us(
    rails_ruby: RubyDriver, start: StartScheduler, redis: Any
) -> None:
    """And performed by Rails."""
    await rails_ruby.call("rails.enqueue_at", int(time.time()) + 2, "later")
    await start()
    await wait_for(lambda: redis.llen("resque:queue:interop"))
    await rails_ruby.call("worker.drain")
    assert await ran(redis) == [["later", {}]]


async def test_delayed_by_us_promoted_by_ruby(
    rails_ruby: RubyDriver, redis_url: str, redis: Any
) -> None:
    """Its scheduler asks the wrapper's class, and Rails performs it."""
    await send(redis_url, "later", at_ms=int(time.time() * 1000) + 2000)
    await rails_ruby.call("scheduler.start")
    await wait_for(lambda: redis.llen("resque:queue:interop"))
    await rails_ruby.call("worker.drain")
    assert await ran(redis) == [["later", {}]]


async def test_waiting_and_delayed_ones_are_found(
    rails_ruby: RubyDriver, resque: Resque, redis_url: str, redis: Any
) -> None:
    """By us by class and arguments; by Ruby with a block, or all jobs of Rails at once: each has its own id."""
    for word in ("a", "b"):
        await rails_ruby.call("rails.enqueue", word)
        await rails_ruby.call("rails.enqueue_at", LATER_S, word)
    assert await resque.delete("interop", "RailsEcho", ["a"]) == 1
    assert await resque.del_delayed("interop", "RailsEcho", ["a"]) == [LATER_S * 1000]
    assert [each.args for each in await resque.queued("interop")] == [["b"]]

    await send(redis_url, "c")
    await send(redis_url, "c", at_ms=LATER_S * 1000)
    assert await rails_ruby.call("rails.remove_delayed", "c") == 1
    assert await rails_ruby.call("rails.dequeue_class", "interop") == 2
    assert await resque.delayed_at(LATER_S * 1000) != []
    assert await redis.llen("resque:queue:interop") == 0


async def test_workers_show_the_class(rails_ruby: RubyDriver, resque: Resque, redis: Any) -> None:
    """Of a job that runs in Ruby."""
    await rails_ruby.call("rails.enqueue", 60_000)
    worker = await rails_ruby.call("worker.start")
    await wait_for(lambda: redis.llen("interop:began"))
    [seen] = await all_workers(resque)
    assert (seen.worker_id, seen.class_name) == (worker["id"], "RailsEcho")
