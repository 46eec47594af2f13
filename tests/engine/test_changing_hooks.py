"""Enqueue hooks run before a job's bytes are made: they may change its arguments, or forbid it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import pytest

from resqpy.base.errors import InvalidJob
from resqpy.engine.inspect.inspector import Inspector
from resqpy.engine.plugin import Enqueuing, Plugin
from resqpy.engine.queue.queue import NewJob, Queue
from resqpy.engine.scheduler.promotion import Claims, DueItemPolicy, EventReporter, Promotion
from tests.support.inspecting import round_trips
from tests.support.leading import Leading

START_MS = 1_767_225_600_000
Change = Callable[[Enqueuing], Any]


class Changes(Plugin):
    """Does with a job what it is given."""

    def __init__(self, change: Change) -> None:
        super().__init__()
        self.change = change
        self.after: list[Any] = []

    async def before_enqueue(self, job: Enqueuing) -> bool:
        """Change it."""
        self.change(job)
        return True

    async def after_enqueue(self, job: Enqueuing) -> None:
        """Note what it has become."""
        self.after.append(job.args)


def tasks(*changes: Change, plugins: Sequence[Any] = ()) -> dict[str, Any]:
    """One task with hooks."""
    return {"Echo": {"perform": print, "plugins": [*map(Changes, changes), *plugins], "queue": "q"}}


META: dict[str, Any] = {}


def stamp(job: Enqueuing) -> None:
    """Number the jobs in what they have in common, with something that the plugin goes on using."""
    META["at"] = job.args[-1]
    job.args[0]["deep"] = META


async def waiting(redis: Any, queue: str = "q") -> list[str]:
    """The bytes of a queue."""
    return [each.decode() for each in await redis.lrange(f"resque:queue:{queue}", 0, -1)]


async def test_what_a_hook_changes_is_enqueued(redis_url: str, redis: Any) -> None:
    """In place or as a whole; the next hook, the hook behind and the locks see it. One round trip."""

    def whole(job: Enqueuing) -> None:
        job.args = [*job.args, "more"]

    jobs = tasks(stamp, whole, plugins=["QueueLock"])
    shared: Any = {"deep": {}}
    async with Queue(redis_url, jobs) as queue:
        await queue.store.run("enqueue", [queue.store.keys.queues], ["RPUSH", 0])  # it is loaded
        with round_trips(queue.store, 1):
            many = [
                ("q", "Echo", [shared, 1]),
                ("q", "Plain", [shared]),
                ("q", "Echo", [shared, 2]),
            ]
            assert await queue.enqueue_many(many) == [True, True, True]
        assert await queue.enqueue_front("q", "Echo", [shared, 3])
        assert await queue.enqueue_in(0, "q", "Echo", [shared, 4])
        assert await queue.enqueue_at(START_MS, "q", "Echo", [shared, 5])
        assert await queue.enqueue("q", "Echo", [shared, 5]) is False
        [first, _] = queue.definitions["Echo"].enqueue_hooks
        assert isinstance(first, Changes)
        assert first.after[0][1:] == [1, "more"]

    assert shared == {"deep": {}}  # the caller's stays as it is
    assert await waiting(redis) == [
        f'{{"class":"Echo","queue":"q","args":[{{"deep":{{"at":{n}}}}},{n},"more"]}}' if n else
        '{"class":"Plain","queue":"q","args":[{"deep":{}}]}'
        for n in (3, 1, 0, 2, 4, 5)
    ]  # fmt: skip
    locks = sorted(key.decode() for key in await redis.keys("resque:lock:*"))
    assert locks[0] == 'resque:lock:Echo:q:[{"deep":{"at":1}},1,"more"]'


async def test_a_job_that_no_hook_changes_keeps_its_bytes(redis_url: str, redis: Any) -> None:
    """With hooks that look on, and without any."""
    args = [1.0, 1e-7, -0.0, 2**60, (1, [True, None]), {"ü": "\\/", "b": 1, "a": 1e22}]
    seen: list[Any] = []
    async with Queue(redis_url, tasks(lambda job: seen.append(list(job.args)))) as queue:
        await queue.enqueue_many([("q", "Echo", args), ("plain", "Echo", args)])
    async with Queue(redis_url) as queue:
        await queue.enqueue("other", "Echo", args)

    assert seen == [args, args]
    [told], [other] = await waiting(redis), await waiting(redis, "other")
    assert told == other.replace('"other"', '"q"')


def spoil(job: Enqueuing) -> None:
    """Put in what JSON has not."""
    job.args[0]["when"] = datetime(2026, 1, 1)  # noqa: DTZ001


def swell(job: Enqueuing) -> None:
    """Make it too large."""
    job.args.append("x" * 2**24)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (spoil, r"task 'Echo'.*Changes.*: args\[0\]\.when: datetime is not JSON"),
        (lambda job: setattr(job, "args", {"a": 1}), "Changes.*: args: .*dict"),
        (swell, "Changes.* has 16777"),
    ],
)
async def test_what_can_not_be_written(
    redis_url: str, redis: Any, change: Change, words: str
) -> None:
    """Told with the path and the hook, and which job of several; nothing is enqueued."""
    async with Queue(redis_url, tasks(change)) as queue:
        one: NewJob = ("q", "Echo", [{}])
        for jobs in ([one], [("q", "Plain", []), one]):
            with pytest.raises(InvalidJob, match=words) as told:
                await queue.enqueue_many(jobs)
            assert ("job 1 (of 0 to 1)" in str(told.value)) is (len(jobs) > 1)
    assert await redis.keys("*") == []


async def test_what_the_caller_gave_is_checked_before_the_hooks(redis_url: str) -> None:
    """A hook is asked of jobs that could be enqueued, as they are."""
    asked: list[Any] = []
    async with Queue(redis_url, tasks(asked.append)) as queue:
        with pytest.raises(InvalidJob, match=r"job 1 .*args\[0\]: set is not JSON"):
            await queue.enqueue_many([("q", "Echo", []), ("q", "Echo", [{1}])])
    assert asked == []


@pytest.mark.parametrize("name", ["class_name", "queue"])
async def test_only_the_arguments_can_be_changed(redis_url: str, redis: Any, name: str) -> None:
    """Neither the task nor the queue."""
    async with Queue(redis_url, tasks(lambda job: setattr(job, name, "other"))) as queue:
        with pytest.raises(AttributeError, match=name):
            await queue.enqueue("q", "Echo", [])
    assert await redis.keys("*") == []


async def test_where_the_bytes_stand_already(
    redis_url: str, redis: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Delayed and failed jobs keep their bytes; the locks are theirs; that a change is lost is told once."""
    item = '{"queue":"q","args":[{"deep":{}},1.50],"class":"Echo"}'
    failed = (
        '{"worker":"w","queue":"q","payload":{"class":"Echo","args":[{"deep":{}},2.50]},'
        '"exception":"E","error":"e","backtrace":[],"failed_at":"2026-01-01 00:00:00 UTC"}'
    )
    for second in (START_MS // 1000, 4_102_444_800):
        await redis.rpush(f"resque:delayed:{second}", item)
        await redis.sadd(f"resque:timestamps:{item}", f"delayed:{second}")
        await redis.zadd("resque:delayed_queue_schedule", {second: second})
    await redis.rpush("resque:failed", failed)

    async with Leading(redis_url, START_MS) as leading:
        queue = Queue(leading.store, tasks(lambda job: job.args.append(1), plugins=["QueueLock"]))
        policy, reporter = (
            DueItemPolicy(queue, "w"),
            EventReporter(print, lambda _: False, queue.store),
        )
        with caplog.at_level(logging.WARNING, "resqpy"):
            await Promotion(queue.store, policy, reporter, print, 60).run(
                leading.leadership(shared=True)
            )
            await Claims(queue, policy, reporter).run(leading.leadership())
            assert await waiting(redis) == [item]
            await redis.delete("resque:queue:q", *await redis.keys("resque:lock:*"))
            assert await queue.enqueue_delayed("Echo") == 1
            assert await Inspector(queue).retry_all_failed() == 1

    assert await waiting(redis) == [item, '{"class":"Echo","args":[{"deep":{}},2.50]}']
    locks = sorted(key.decode() for key in await redis.keys("resque:lock:*"))
    assert locks == [f'resque:lock:Echo:q:[{{"deep":{{}}}},{n}.5]' for n in (1, 2)]
    [told] = [each.getMessage() for each in caplog.records]
    assert "Changes" in told
    assert "'Echo'" in told
