"""Our scheduler and resque-scheduler on one Redis: one leads, and jobs go back and forth."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from resqpy.engine.queue.queue import Queue
from tests.support.foreign import Event, NodeDriver, RubyDriver
from tests.support.scheduling import StartScheduler
from tests.support.waiting import wait_for

FAST = {"interval": 0.05}


def said(text: str) -> Callable[[Event], bool]:
    """Whether a child said it."""
    return lambda event: text in event.args[0]["line"]


async def test_ruby_follows_while_we_lead_and_takes_over_when_we_stop(
    start: StartScheduler, ruby_scheduler: RubyDriver, redis: Any
) -> None:
    """resque-scheduler calls itself a child while the lock is ours."""
    ours = await start()
    await wait_for(lambda: ours.promoting)

    await ruby_scheduler.call("scheduler.start", FAST)

    await ruby_scheduler.wait_event("child", where=said("Child scheduler"))
    await ours.stop()
    await ruby_scheduler.wait_event("child", where=said("Master scheduler"))
    assert await redis.get("resque:resque:resque_scheduler_master_lock") != ours.name.encode()


async def test_we_wait_with_promotion_while_ruby_leads(
    start: StartScheduler, ruby_scheduler: RubyDriver, redis: Any
) -> None:
    """We lead among ourselves, leave Node's lock alone, and take over when Ruby ends."""
    pid = (await ruby_scheduler.call("scheduler.start", FAST))["pid"]

    ours = await start()

    await wait_for(lambda: ours.leader)
    assert not ours.promoting
    assert str(ours.foreign_leader).endswith(f":{pid}")
    assert await redis.exists("resque:resque_scheduler_leader_lock") == 0
    await ruby_scheduler.call("scheduler.stop", pid)
    await wait_for(lambda: ours.promoting)


async def test_the_lock_prefix_is_rubys(
    start: StartScheduler, ruby_scheduler: RubyDriver, redis: Any
) -> None:
    """With RESQUE_SCHEDULER_MASTER_LOCK_PREFIX on both sides they know each other."""
    ours = await start(ruby_lock_prefix="blue")
    await wait_for(lambda: ours.promoting)

    options = {**FAST, "env": {"RESQUE_SCHEDULER_MASTER_LOCK_PREFIX": "blue"}}
    await ruby_scheduler.call("scheduler.start", options)

    await ruby_scheduler.wait_event("child", where=said("Child scheduler"))


async def test_both_follow_while_we_lead(
    start: StartScheduler, ruby_scheduler: RubyDriver, node: NodeDriver, redis: Any
) -> None:
    """Two thousand due jobs, three schedulers, each job once."""
    ours = await start()
    await wait_for(lambda: ours.promoting)
    await node.call("scheduler.start", {"timeout": 10, "mute": ["poll"]})
    await ruby_scheduler.call("scheduler.start", FAST)
    async with redis.pipeline(transaction=True) as step:
        for number in range(2000):
            item = b'{"class":"Echo","queue":"interop","args":[%d]}' % number
            step.rpush("resque:delayed:1000", item)
            step.sadd(b"resque:timestamps:" + item, "delayed:1000")
        step.zadd("resque:delayed_queue_schedule", {"1000": 1000})
        await step.execute()

    await wait_for(lambda: _gone(redis))

    numbers = [
        json.loads(raw)["args"][0] for raw in await redis.lrange("resque:queue:interop", 0, -1)
    ]
    assert numbers == list(range(2000))
    assert not await node.call("scheduler.leader")


async def _gone(redis: Any) -> Any:
    return not await redis.exists("resque:delayed_queue_schedule")


async def test_delayed_by_ruby_promoted_by_us_worked_by_ruby(
    start: StartScheduler, ruby_scheduler: RubyDriver, redis: Any
) -> None:
    """Ruby's item, with its order of keys, runs on Ruby's worker."""
    at = int(time.time()) + 1
    await ruby_scheduler.call("enqueue_at", at, "Echo", [1, {"a": []}])
    await start()

    await wait_for(lambda: redis.llen("resque:queue:interop"))
    assert time.time() >= at
    assert await ruby_scheduler.call("worker.drain") == 0

    [entry] = [json.loads(raw) for raw in await redis.lrange("interop:ran", 0, -1)]
    assert entry == {"by": "ruby", "class": "Echo", "args": [1, {"a": []}]}


async def test_delayed_by_us_promoted_and_worked_by_ruby(
    ruby_scheduler: RubyDriver, redis: Any, redis_url: str
) -> None:
    """Ruby finds it, moves it and runs it."""
    async with Queue(redis_url) as queue:
        await queue.enqueue_in(500, "interop", "Echo", [2])
    assert await ruby_scheduler.call("delayed.count") == 1
    await ruby_scheduler.call("scheduler.start", FAST)

    await wait_for(lambda: redis.llen("resque:queue:interop"))
    assert await ruby_scheduler.call("worker.drain") == 0

    assert await redis.llen("interop:ran") == 1


async def test_ruby_deletes_what_we_delayed(
    start: StartScheduler, ruby_scheduler: RubyDriver, redis: Any, redis_url: str
) -> None:
    """By its class, as Ruby can; we clean the second that it leaves in the index."""
    async with Queue(redis_url) as queue:
        await queue.enqueue_in(1000, "interop", "Echo", [2])
    assert await ruby_scheduler.call("remove_delayed_class", "Echo") == 1

    await start()

    await wait_for(lambda: _gone(redis))
    assert await redis.exists("resque:queue:interop") == 0
