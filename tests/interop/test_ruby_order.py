"""Jobs with Ruby's bytes (`ruby_queues`), which the real Ruby finds by these."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from resqpy import MultiWorker, Queue, RedisOptions, Resque
from resqpy.engine.options import ScalingOptions
from tests.interop.test_node_queue import anything
from tests.interop.test_ruby_text import FIXED, some_value
from tests.support.foreign import RubyDriver
from tests.support.scheduling import schedulers
from tests.support.waiting import wait_for

LATER_S = int(time.time()) + 100_000
QUEUE = "interop"  # which Ruby's classes name
ARGS = [1, "é", [1.0, None], {"a": "\u2028/\x7f\x01"}]


@pytest.fixture
async def queue(redis_url: str) -> AsyncIterator[Queue]:
    """Ours, with Ruby's bytes."""
    async with Queue(RedisOptions(redis_url, ruby_queues=["inter*"])) as queue:
        yield queue


async def test_each_is_dequeued(ruby: RubyDriver, queue: Queue) -> None:
    """By its arguments, one job at a time; whatever they are."""
    dice = random.Random(61)
    found = [[some_value(dice), anything(dice)] for _ in range(200)]
    for args in [*FIXED, ARGS, *found]:
        await queue.enqueue(QUEUE, "Echo", args)
        assert await ruby.call("dequeue", QUEUE, "Echo", args) == 1, args


async def test_each_delayed_one_is_found(
    ruby_scheduler: RubyDriver, queue: Queue, redis: Any
) -> None:
    """By the names of its time, shown, moved and removed: all that resque-scheduler does by bytes."""
    call = ruby_scheduler.call

    async def delay() -> None:
        assert await queue.enqueue_at(LATER_S * 1000, QUEUE, "Echo", ARGS)
        assert await call("delayed?", "Echo", ARGS)
        assert await call("scheduled_at", "Echo", ARGS) == [LATER_S]

    await delay()
    assert await call("remove_delayed", "Echo", ARGS) == 1
    await delay()
    assert await call("remove_delayed_in_queue", "Echo", QUEUE, ARGS) == 1
    await delay()
    assert await call("remove_delayed_job_from_timestamp", LATER_S, "Echo", ARGS) == 1
    assert not await call("delayed?", "Echo", ARGS)
    await delay()
    assert await call("remove_delayed_class", "Echo") == 1
    await delay()
    await call("delay_or_enqueue_at", LATER_S + 1, "Echo", ARGS)
    assert await call("delayed.at", LATER_S) == []
    assert await queue.del_delayed(QUEUE, "Echo", ARGS) == [(LATER_S + 1) * 1000]
    await delay()
    assert await call("enqueue_delayed", "Echo", ARGS) == 1
    await delay()
    assert await call("enqueue_delayed_class", "Echo") == 1
    assert await call("dequeue", QUEUE, "Echo", ARGS) == 2
    assert await redis.llen(f"resque:queue:{QUEUE}") == 0


@pytest.mark.parametrize("early", [False, True], ids=["due", "early"])
async def test_a_delayed_one_is_dequeued_when_it_is_due(
    ruby_scheduler: RubyDriver, redis_url: str, redis: Any, early: bool
) -> None:
    """Whoever has delayed it, promoted by our scheduler or moved by hand: as Ruby's scheduler enqueues it."""
    options = RedisOptions(redis_url, ruby_queues=[QUEUE])
    at_s = LATER_S if early else int(time.time()) + 2
    async with Resque(options) as resque, schedulers(options, lease_s=0.4) as start:  # type: ignore[arg-type]
        await resque.enqueue_at(at_s * 1000, QUEUE, "Echo", ARGS)
        await ruby_scheduler.call("enqueue_at", at_s, "Echo", [2])
        if early:
            assert await resque.enqueue_delayed("Echo") == 2
        else:
            await start()
            await wait_for(lambda: _has(redis, 2))
    assert await ruby_scheduler.call("dequeue", QUEUE, "Echo", ARGS) == 1
    assert await ruby_scheduler.call("dequeue", QUEUE, "Echo", [2]) == 1


async def _has(redis: Any, count: int) -> bool:
    return int(await redis.llen(f"resque:queue:{QUEUE}")) == count


@pytest.mark.parametrize("by_ruby", [True, False], ids=["theirs", "ours"])
async def test_a_retried_one_is_found(
    ruby_scheduler: RubyDriver, queue: Queue, redis_url: str, by_ruby: bool
) -> None:
    """A job in Ruby's text is delayed in Ruby's text."""
    jobs = {"Fail": {"perform": _fail, "plugins": ["Retry"], "plugin_options": RETRY}}
    if by_ruby:
        await ruby_scheduler.call("enqueue", "Fail", ["no", 1.0])
    else:
        await queue.enqueue(QUEUE, "Fail", ["no", 1.0])
    scaling = ScalingOptions(min_task_processors=1, max_task_processors=1)
    async with MultiWorker(redis_url, jobs, QUEUE, scaling=scaling):
        await wait_for(lambda: ruby_scheduler.call("delayed?", "Fail", ["no", 1.0]))
    assert await ruby_scheduler.call("remove_delayed", "Fail", ["no", 1.0]) == 1


RETRY = {"Retry": {"retryLimit": 2, "retryDelay": 1_000_000}}


def _fail(*_: Any) -> None:
    raise ValueError("no")
