"""A rolling deploy: a worker that is older than a job leaves it to one that isn't, and for no longer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from resqpy import Inspector, Queue, Scheduler
from resqpy.base.errors import InvalidInputs, UnknownTask
from resqpy.engine.worker import newer
from resqpy.engine.worker.worker import BaseWorker
from resqpy.framework.tasks.task import task
from tests.support.redis_state import dump
from tests.support.waiting import wait_for
from tests.support.working import working

KNOWN = "resque:resqpy:known_tasks"


async def old() -> str:
    """A task of both versions."""
    return "old"


async def fresh() -> str:
    """A task of the new version."""
    return "fresh"


@task("send")
async def send_v1(to: str) -> str:
    """A task of the old version."""
    return f"v1 {to}"


@task("send")
async def send_v2(to: str, cc: str = "") -> str:
    """The same of the new version."""
    return f"v2 {to} {cc}"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newer, "_PAUSE_S", 0.05)
    monkeypatch.setattr(newer, "_ASK_S", 0.0)


async def _announced(redis: Any, names: Any, *, incarnation: str = "new", age_s: int = 0) -> None:
    """Another process announces tasks."""
    seconds, _ = await redis.time()
    await redis.hset(KNOWN, incarnation, json.dumps(names))
    await redis.zadd("resque:resqpy:processes", {incarnation: seconds - age_s})


OLD: Mapping[str, Any] = {"old": old, "send": send_v1}
NEW: Mapping[str, Any] = {"old": old, "fresh": fresh, "send": send_v2}


async def test_jobs_of_a_newer_version_reach_a_worker_of_it(redis_url: str, redis: Any) -> None:
    """Of an unknown class, and with inputs that the older one refuses; its own jobs go on."""
    led = Scheduler(redis_url, {})
    async with led, Queue(redis_url) as queue, working(redis_url, OLD, "q") as older:
        await wait_for(lambda: led.leader)
        await _announced(redis, ["fresh", "old", "send", "send v2"])
        await queue.enqueue("q", "fresh")
        await queue.enqueue("q", "send", [{"to": "ada", "cc": "bob"}])
        await queue.enqueue("q", "old")
        await wait_for(lambda: older.args("success"))
        await wait_for(lambda: len(older.args("error")) == 2)
        async with working(redis_url, NEW, "q") as new:
            older.worker.pause()  # or else it may be the first, time and again
            await wait_for(lambda: len(new.args("success")) == 2)
        assert [each[3] for each in older.args("success")] == ["old"]
        assert older.args("failure") == []

    assert sorted(each[3] for each in new.args("success")) == ["fresh", "v2 ada bob"]
    assert await redis.llen("resque:failed") == 0
    assert await redis.llen("resque:queue:q") == 0
    assert await redis.get("resque:stat:processed") == b"3"


@pytest.mark.parametrize(
    ("names", "age_s"),
    [([], 0), (["other", "fresher"], 0), (["fresh"], 61), (["fresh 1"], 0), (7, 0), ("fresh", 0)],
)
async def test_what_nobody_alive_announces_fails_at_once(
    redis_url: str, redis: Any, names: Any, age_s: int
) -> None:
    """As ever."""
    await _announced(redis, names, age_s=age_s)
    async with Queue(redis_url) as queue, working(redis_url, OLD, "q") as older:
        await queue.enqueue("q", "fresh")
        await older.until(1)
    [(_, _, _, error, _)] = older.args("failure")
    assert isinstance(error, UnknownTask)


async def test_inputs_that_all_refuse_fail_at_once(redis_url: str, redis: Any) -> None:
    """Where others have the same version of the task, there is nothing to wait for; nor for an error
    that the task raised itself.
    """

    async def raises() -> None:
        raise InvalidInputs("of another task")

    jobs = {"send": send_v1, "raises": raises}
    others = working(redis_url, jobs, "other")
    async with Queue(redis_url) as queue, working(redis_url, jobs, "q") as one, others:
        await _announced(redis, ["raises", "raises 2"])
        await queue.enqueue("q", "send", [{"too": "ada"}])
        await queue.enqueue("q", "raises")
        await one.until(2)
    assert len(one.args("failure")) == 2
    assert one.args("error") == []


async def test_patience_has_an_end(
    redis_url: str, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where who announces a class never takes its jobs, they fail, and are not lost."""
    monkeypatch.setattr(newer, "PATIENCE_S", 0.3)
    await _announced(redis, ["fresh"])
    async with Queue(redis_url) as queue, working(redis_url, OLD, "q") as older:
        await queue.enqueue_many([("q", "fresh", [n]) for n in range(3)])
        await older.until(3)
    assert len(older.args("failure")) == 3
    [(told, *_)] = older.args("error")
    assert "'fresh' is unknown here, and another live worker announces it" in str(told)
    failed = await redis.lrange("resque:failed", 0, -1)
    assert sorted(json.loads(each)["payload"]["args"] for each in failed) == [[0], [1], [2]]


async def test_a_worker_that_stops_meanwhile_puts_the_job_back(
    redis_url: str, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pause is cut short; a job that is cancelled on request fails."""
    monkeypatch.setattr(newer, "_PAUSE_S", 600.0)
    await _announced(redis, ["fresh"])
    async with Queue(redis_url) as queue, Inspector(redis_url) as inspector:
        async with working(redis_url, OLD, "q", stop_timeout_s=0.0) as older:
            await queue.enqueue("q", "fresh")
            await wait_for(lambda: older.args("error"))
        assert [job.class_name for job in await inspector.queued("q")] == ["fresh"]
        async with working(redis_url, OLD, "q") as older:
            await wait_for(lambda: older.args("error"))
            [worker_id] = older.worker.worker_ids
            assert older.worker.cancel(str(worker_id))
            await older.until(1)
    assert len(older.args("failure")) == 1


async def test_what_a_process_announces(redis_url: str, redis: Any) -> None:
    """As long as it runs; what one that was killed left behind goes with the next that starts."""
    await redis.hset(KNOWN, "killed", '["a"]')
    async with working(redis_url, NEW, "q") as work:
        incarnation = work.worker.pool.slots.incarnation
        noted = await redis.hgetall(KNOWN)
        assert list(noted) == [incarnation.encode()]
        names = json.loads(noted[incarnation.encode()])
        assert [each for each in names if " " not in each] == ["fresh", "old", "send"]
        [versioned] = [each for each in names if " " in each]
        assert versioned.startswith("send ")
    assert await dump(redis) == {}


async def test_junk_and_a_full_redis_stop_no_worker(redis_url: str, redis: Any) -> None:
    """What can't be noted is told, and work goes on; what can't be read is nobody's."""
    await redis.set(KNOWN, "junk")
    async with Queue(redis_url) as queue, working(redis_url, OLD, "q") as work:
        await queue.enqueue_many([("q", "old", []), ("q", "fresh", [])])
        await work.until(2)
    assert isinstance(work.worker, BaseWorker)
    assert [each[3] for each in work.args("success")] == ["old"]

    await redis.delete(KNOWN)
    await redis.hset(KNOWN, "new", '{"not": [')
    await redis.hset(KNOWN, "newer", '[7, null, "x"]')
    async with Queue(redis_url) as queue, working(redis_url, OLD, "q") as work:
        await queue.enqueue("q", "fresh")
        await work.until(1)
    assert len(work.args("failure")) == 1
