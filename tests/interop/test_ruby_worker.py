"""Ruby enqueues, we work; we enqueue, Ruby works; it lists us and leaves us alone: the real resque."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

from resqpy import Queue, Resque
from resqpy.store.migrations import ALL, Migration, migrate
from tests.engine.test_migrations_kill import within
from tests.support.foreign import RubyDriver
from tests.support.interop_jobs import Ours
from tests.support.waiting import wait_for
from tests.support.working import working

ARGS: list[list[Any]] = [
    [],
    [1, 2**64, "é\u2028😀", None, True, 0.1, 1.0],
    [{"b": 2, "a": [], "2": 1, "1": {}}],
    ['a/b\\"', [[[]]]],
]
BOTH = 1_500


async def ruby_ran(redis: Any) -> list[list[Any]]:
    """The arguments of the runs that Ruby noted."""
    return [json.loads(each)["args"] for each in await redis.lrange("interop:ran", 0, -1)]


async def test_ruby_enqueues_and_we_work(ruby: RubyDriver, redis_url: str) -> None:
    """Arguments come exactly as they were given; a failure is one that Ruby lists."""
    ours = Ours(str.capitalize)
    async with working(redis_url, ours.jobs, "interop") as work:
        for args in ARGS:
            await ruby.call("enqueue", "Echo", args)
        await ruby.call("enqueue", "Fail", ["boo"])
        await work.until(len(ARGS) + 1)
        info = await ruby.call("info")
    assert ours.ran == ARGS
    assert type(ours.ran[1][-1]) is float
    assert (info["processed"], info["failed"]) == (len(ARGS), 1)  # node-resque's rule
    [entry] = await ruby.call("failure.all")
    assert (entry["exception"], entry["error"], entry["queue"]) == ("ValueError", "boo", "interop")
    assert entry["payload"]["args"] == ["boo"]


async def test_we_enqueue_and_ruby_works(ruby: RubyDriver, redis_url: str, redis: Any) -> None:
    """Ruby's worker takes our jobs for its own."""
    async with Queue(redis_url) as queue:
        await queue.enqueue_many([("interop", "Echo", args) for args in ARGS])
    await ruby.call("worker.drain", {"fork": False})
    assert await ruby_ran(redis) == ARGS


async def test_ruby_sees_what_we_work_on(ruby: RubyDriver, redis_url: str) -> None:
    """Our workers are in Ruby's lists with host, pid, queues, heartbeat, counters and their job."""
    ours = Ours(str.capitalize)
    async with (
        Queue(redis_url) as queue,
        working(redis_url, ours.jobs, "interop,*", slots=2) as work,
    ):
        await queue.enqueue("interop", "Echo", [1])
        await work.until(1)
        await queue.enqueue("interop", "Hold", [2**64, 1.0, []])
        await wait_for(lambda: len(work.args("job")) == 2)
        listed = {each["id"]: each for each in await ruby.call("workers")}
        assert set(listed) == set(map(str, work.worker.worker_ids))
        for own in work.worker.worker_ids:
            each = listed[str(own)]
            assert each["host"] == own.host
            # Resque 3.0 reads its leading digits, the versions before all of it.
            assert str(each["pid"]) in (own.pid, own.pid.partition("-")[0])
            assert each["queues"] == ["interop"]  # Ruby puts in for `*` what there is
            assert each["started"]
            assert each["heartbeat"]
        assert sum(each["processed"] for each in listed.values()) == 1
        [busy] = await ruby.call("working")
        assert busy["state"] == "working"
        assert busy["job"]["payload"] == {
            "class": "Hold", "queue": "interop", "args": [2**64, 1.0, []],
        }  # fmt: skip
        ours.gate.set()
        await work.until(2)
    assert await ruby.call("workers") == []


async def test_a_ruby_worker_that_starts_here_does_not_prune_us(
    ruby: RubyDriver, redis_url: str
) -> None:
    """Neither one on `*`, nor one on the very same queues, takes a job away from us."""
    ours = Ours(str.capitalize)
    async with Queue(redis_url) as queue, working(redis_url, ours.jobs, "interop", slots=2) as work:
        await queue.enqueue("interop", "Hold")
        await wait_for(lambda: work.args("job"))
        for queues in (["*"], ["interop"], ["other"]):
            assert await ruby.call("prune_dead_workers", queues) == []
        ours.gate.set()
        await work.until(1)
        assert not work.errors
        assert await ruby.call("failure.count") == 0


async def test_ruby_retries_what_failed_with_us(ruby: RubyDriver, redis_url: str) -> None:
    """An entry of ours is requeued by Ruby and run by us again."""
    ours = Ours(str.capitalize)
    async with working(redis_url, ours.jobs, "interop") as work:
        await ruby.call("enqueue", "Fail", ["é\n"])
        await work.until(1)
        await ruby.call("failure.requeue", 0)
        await work.until(2)
    assert [args[2].args for args in work.args("failure")] == [["é\n"], ["é\n"]]


async def test_ruby_and_we_drain_one_queue(ruby: RubyDriver, redis_url: str, redis: Any) -> None:
    """One worker of theirs and one of ours: each job runs once, and both have their part."""
    ours = Ours(str.capitalize)
    async with Queue(redis_url) as queue:
        await queue.enqueue_many([("interop", "Echo", [n]) for n in range(BOTH)])
        await ruby.call("worker.start", {"fork": False})
        await wait_for(lambda: redis.llen("interop:ran"), 10)
        async with working(redis_url, ours.jobs, "interop"):

            async def all_done() -> bool:
                return bool(await redis.llen("interop:ran") + len(ours.ran) >= BOTH)

            await wait_for(all_done, 25)
        numbers = [args[0] for args in await ruby_ran(redis) + ours.ran]
    assert Counter(numbers) == Counter(range(BOTH))
    assert ours.ran
    assert await redis.llen("interop:ran")


async def test_a_class_moves_from_ruby_and_back(
    ruby: RubyDriver, redis_url: str, redis: Any
) -> None:
    """None, half, all and none of its jobs are ours; the bytes that Ruby gets are those that it wrote."""
    ours, each = Ours(str.capitalize), 200
    rule = Migration("mail", "ruby", 0, over=each, max_errors=ALL, max_ms=0)
    async with Resque(redis_url) as resque, working(redis_url, ours.jobs, "mail", slots=5):
        await ruby.call("worker.start", {"queues": ["mail.ruby"], "fork": False})
        for phase, share in enumerate((0, ALL // 2, ALL, 0)):
            await migrate(resque.store, "Echo", replace(rule, share=share))
            args = [[n, {"z": 1.0, "a": []}] for n in range(phase * each, (phase + 1) * each)]
            before = len(ours.ran), len(await ruby_ran(redis))
            await ruby.call("enqueue_all", "mail", "Echo", args)
            await wait_for(
                lambda: _ran_by_now(ours, redis, (phase + 1) * each)  # noqa: B023  # awaited here
            )
            here, there = ours.ran[before[0] :], (await ruby_ran(redis))[before[1] :]

            assert sorted(here + there, key=lambda one: one[0]) == args
            assert within(len(here), each, share)


async def _ran_by_now(ours: Ours, redis: Any, count: int) -> bool:
    return len(ours.ran) + len(await ruby_ran(redis)) >= count
