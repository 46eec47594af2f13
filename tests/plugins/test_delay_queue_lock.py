"""DelayQueueLock on the real Redis: not in the queue while it waits for its time."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import pytest

from resqpy import Scheduler
from resqpy.engine.plugin import Enqueuing, Plugin
from tests.plugins.conftest import MakeStage
from tests.support.waiting import wait_for

TASK = {"perform": print, "plugins": ["DelayQueueLock"]}


async def test_a_delayed_job_is_not_enqueued(make_stage: MakeStage) -> None:
    """Until it is due or deleted; others are."""
    stage = make_stage(job=TASK)
    await stage.queue.enqueue_in(60_000, "q", "job", [1])

    assert await stage.queue.enqueue("q", "job", [1]) is False
    assert await stage.queue.enqueue("q", "job", [2]) is True
    assert await stage.queue.enqueue("other", "job", [1]) is True
    await stage.queue.del_delayed("q", "job", [1])
    assert await stage.queue.enqueue("q", "job", [1]) is True


@pytest.mark.parametrize(
    "item",
    [
        '{"class":"job","queue":"q","args":[1]}',
        '{"class":"job","args":[1],"queue":"q"}',
        '{"class":"job","queue":"q","args":[1.0]}',
        '{"class":"job","args":[1.0],"queue":"q"}',
    ],
)
async def test_whoever_delayed_it(make_stage: MakeStage, item: str) -> None:
    """Node's and Ruby's order of the keys and text of numbers are the same job."""
    stage = make_stage(job=TASK)
    await stage.redis.rpush("resque:delayed:99999999999", item)
    await stage.redis.sadd(f"resque:timestamps:{item}", "delayed:99999999999")
    await stage.redis.zadd("resque:delayed_queue_schedule", {"99999999999": 99999999999})

    assert await stage.queue.enqueue("q", "job", [1.0]) is False


async def test_both_locks_together_leave_nothing(make_stage: MakeStage) -> None:
    """A job that is delayed takes no QueueLock, whichever stands first."""
    for plugins in (["QueueLock", "DelayQueueLock"], ["DelayQueueLock", "QueueLock"]):
        stage = make_stage(job={"perform": print, "plugins": plugins})
        await stage.queue.enqueue_in(60_000, "q", "job", [len(plugins[0])])
        before: dict[str, Any] = await stage.left()

        assert await stage.queue.enqueue("q", "job", [len(plugins[0])]) is False
        assert await stage.left() == before


# -- equal jobs of one second, and an index that is not right --

ITEM = '{"class":"job","queue":"q","args":[1]}'
RUBYS = '{"class":"job","args":[1],"queue":"q"}'


class Counting(Plugin):
    """A hook of one's own, so that a leader claims the job before it asks."""

    asked: ClassVar[list[Any]] = []

    async def before_enqueue(self, job: Enqueuing) -> bool:
        """Allow it."""
        self.asked.append(job.args)
        return True


async def write_delayed(redis: Any, second: int, items: list[str]) -> None:
    """As any client writes them, which does not look what is there."""
    for item in items:
        await redis.rpush(f"resque:delayed:{second}", item)
        await redis.sadd(f"resque:timestamps:{item}", f"delayed:{second}")
        await redis.zadd("resque:delayed_queue_schedule", {str(second): second})


@pytest.mark.parametrize("items", [[ITEM] * 4, [ITEM, RUBYS] * 2, [RUBYS] * 3 + [ITEM]])
@pytest.mark.parametrize(
    "plugins",
    [["DelayQueueLock"], [Counting, "DelayQueueLock"], ["QueueLock", "DelayQueueLock"]],
    ids=["alone", "with a hook", "with QueueLock"],
)
async def test_equal_jobs_of_one_second(
    make_stage: MakeStage, plugins: list[Any], items: list[str]
) -> None:
    """However many somebody wrote, one enters the queue, and nothing of them is left."""
    Counting.asked.clear()
    stage = make_stage(job={"perform": print, "plugins": plugins})
    other = ITEM.replace("[1]", "[2]")
    await write_delayed(stage.redis, 1_700_000_000, [*items, other])

    async with Scheduler(stage.url, stage.jobs):
        await wait_for(lambda: settled(stage.redis))

    jobs = await stage.redis.lrange("resque:queue:q", 0, -1)
    assert sorted(str(json.loads(job)["args"]) for job in jobs) == ["[1]", "[2]"]
    assert sorted(map(str, Counting.asked)) == (["[1]", "[2]"] if Counting in plugins else [])
    assert await stage.redis.keys("resque:timestamps:*") == []
    assert await stage.redis.keys("resque:delayed:*") == []


async def settled(redis: Any) -> bool:
    """Whether all that was due has gone its way."""
    left = await redis.exists("resque:delayed_queue_schedule", "resque:resqpy:claimed")
    return not left and await redis.llen("resque:queue:q") >= 2


@pytest.mark.parametrize(
    "length", [0, 1, 6_000], ids=["no list", "a list of others", "a long list"]
)
async def test_an_index_that_was_left_behind(make_stage: MakeStage, length: int) -> None:
    """It does not shut the queue for ever: the job is looked for where the index says. Only in a list
    that is too long for that, the index is believed.
    """
    stage = make_stage(job=TASK)
    await stage.redis.sadd(f"resque:timestamps:{ITEM}", "delayed:99999999999")
    if length:
        await stage.redis.rpush("resque:delayed:99999999999", *(["{}"] * length))

    assert await stage.queue.enqueue("q", "job", [1]) is (length < 5000)


async def test_an_index_that_is_no_set(make_stage: MakeStage) -> None:
    """Nor does junk in its place."""
    stage = make_stage(job=TASK)
    await stage.redis.set(f"resque:timestamps:{ITEM}", "junk")
    assert await stage.queue.enqueue("q", "job", [1]) is True


async def test_a_second_that_somebody_emptied(make_stage: MakeStage) -> None:
    """A job may be delayed to a second of whose index an entry was left behind."""
    stage = make_stage(job=TASK)
    at = 32_503_680_000
    await stage.redis.sadd(f"resque:timestamps:{ITEM}", f"delayed:{at}")
    assert await stage.queue.enqueue_at(at * 1000, "q", "job", [1]) is True
    assert await stage.queue.enqueue("q", "job", [1]) is False
