"""DelayQueueLock on the real Redis: not in the queue while it waits for its time."""

from __future__ import annotations

from typing import Any

import pytest

from tests.plugins.conftest import MakeStage

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
