"""Ruby's schedules on one Redis with resque-scheduler: whoever leads runs them, and reads the other's."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from resqpy.base.foreign_time import moment_of
from resqpy.engine.inspect.schedule_view import RubyScheduleVerbs
from resqpy.engine.queue.queue import Queue
from tests.support.foreign import RubyDriver
from tests.support.scheduling import StartScheduler
from tests.support.waiting import wait_for

DYNAMIC = {"interval": 0.05, "dynamic": True}


@pytest.fixture
async def verbs(redis_url: str) -> AsyncIterator[RubyScheduleVerbs]:
    """The verbs on schedules."""
    async with Queue(redis_url) as queue:
        yield RubyScheduleVerbs(queue)


async def jobs(redis: Any) -> list[Any]:
    """The jobs of the queue."""
    return [json.loads(raw) for raw in await redis.lrange("resque:queue:interop", 0, -1)]


async def test_written_by_ruby_run_by_us_worked_by_ruby(
    start: StartScheduler, ruby_scheduler: RubyDriver, redis: Any
) -> None:
    """Ruby sees when it ran last; its jobs are as Ruby would have written them."""
    scheduler = await start()
    await wait_for(lambda: scheduler.leader)
    await wait_for(lambda: scheduler.promoting)
    config = {"class": "Echo", "every": "1s", "queue": "interop", "args": {"k": 1.5}}
    await ruby_scheduler.call("schedule.set", "tick", config)

    await wait_for(lambda: redis.llen("resque:queue:interop"))

    assert (await jobs(redis))[0] == {"class": "Echo", "args": [{"k": 1.5}]}
    assert not await redis.exists("resque:schedules_changed")
    seen = await ruby_scheduler.call("schedule.last_enqueued_at", "tick")
    now_s, _ = await redis.time()
    assert abs((moment_of(seen) or 0) / 1000 - now_s) < 3
    assert await ruby_scheduler.call("schedule.remove", "tick")
    await asyncio.sleep(0.3)
    assert await ruby_scheduler.call("worker.drain") == 0
    ran = [json.loads(raw) for raw in await redis.lrange("interop:ran", 0, -1)]
    assert ran[0] == {"by": "ruby", "class": "Echo", "args": [{"k": 1.5}]}
    length = len(ran)
    await asyncio.sleep(1.2)
    assert await redis.llen("interop:ran") == length
    assert await jobs(redis) == []


async def test_written_by_us_run_by_ruby(
    ruby_scheduler: RubyDriver, redis: Any, verbs: RubyScheduleVerbs
) -> None:
    """A dynamic Ruby scheduler loads what we write while it runs, and forgets what we remove."""
    await ruby_scheduler.call("scheduler.start", DYNAMIC)
    config = {
        "every": ["1h", {"first_in": "1s"}],
        "queue": "interop",
        "args": ["x"],
        "class": "Echo",
    }
    await verbs.set_schedule("soon", config)
    await verbs.set_schedule(
        "seconds", {"cron": "* * * * * *", "class": "Noop", "queue": "interop"}
    )
    await wait_for(lambda: _classes(redis, {"Echo", "Noop"}), 10)
    assert set(await ruby_scheduler.call("schedule.all")) == {"soon", "seconds"}
    assert await verbs.remove_schedule("seconds")
    assert set(await ruby_scheduler.call("schedule.all")) == {"soon"}


async def _classes(redis: Any, wanted: set[str]) -> bool:
    return {job["class"] for job in await jobs(redis)} >= wanted


async def test_a_ruby_scheduler_is_replaced_and_comes_back(
    start: StartScheduler, ruby_scheduler: RubyDriver, redis: Any
) -> None:
    """Ruby, ours, Ruby: a cron of each second fires once for each second in the hands of each."""
    config = {"class": "Noop", "cron": "* * * * * *", "queue": "interop"}
    await ruby_scheduler.call("schedule.set", "tick", config)
    pid = (await ruby_scheduler.call("scheduler.start", DYNAMIC))["pid"]
    await wait_for(lambda: redis.llen("resque:queue:interop"), 10)

    ours = await start()
    await wait_for(lambda: ours.leader)
    fired: list[int] = []
    ours.on("enqueue", lambda at, _: fired.append(at))
    await asyncio.sleep(1.5)
    assert (ours.promoting, fired) == (False, [])

    await ruby_scheduler.call("scheduler.stop", pid)
    await wait_for(lambda: len(fired) >= 3, 10)
    assert [later - earlier for earlier, later in itertools.pairwise(fired)] == [1000] * (
        len(fired) - 1
    )

    await ruby_scheduler.call("scheduler.start", DYNAMIC)
    count = await redis.llen("resque:queue:interop")
    await ours.stop()
    await wait_for(lambda: _more(redis, count + 2), 10)


async def _more(redis: Any, count: int) -> bool:
    return bool(await redis.llen("resque:queue:interop") >= count)


async def test_odd_entries_are_survived_by_us(
    start: StartScheduler, redis: Any, ruby_scheduler: RubyDriver
) -> None:
    """Entries that end each dynamic Ruby scheduler (trap 4)."""
    await redis.hset("resque:persistent_schedules", "bad", b'{"every":5,"class":[]}')
    await redis.hset("resque:persistent_schedules", "null", b"null")
    config = {"class": "Echo", "every": "1s", "queue": "interop"}
    await ruby_scheduler.call("schedule.set", "good", config)
    scheduler = await start()
    await wait_for(lambda: scheduler.leader)
    errors: list[str] = []
    scheduler.on("error", lambda error: errors.append(str(error)))
    await wait_for(lambda: redis.llen("resque:queue:interop"), 10)
