"""Jobs, workers and failures of pyres (recorded), goworker and jesque (as their sources write them)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from resqpy.base.model import WorkerId
from resqpy.diagnosis.workers import all_workers
from resqpy.engine.inspect.inspector import Resque
from tests.engine.test_foreign_care import Scene as CareScene
from tests.support.recordings import HOST, replay
from tests.support.scheduling import StartScheduler, schedulers
from tests.support.waiting import wait_for
from tests.support.working import working

# process.go, worker.go: the id has a number of the goroutine, and `failed` the id of the worker as a text.
GO_WORKER = "web:7-3:low,mail"
GO_FAILED = (
    b'{"failed_at":"2026-11-30T16:08:29.123456789+01:00","payload":{"class":"Hello","args":[1.5,{"n":2}]},'
    b'"exception":"Error","error":"no","backtrace":null,"worker":"web:7-3:low,mail","queue":"mail"}'
)
GO_RECORD = (
    b'{"queue":"mail","run_at":"2026-11-30T16:08:29.5+01:00","payload":{"class":"Hello","args":[]}}'
)
# AbstractWorker.java, JobFailure.java: a number of the worker stands in the id, and a word before its queues.
JAVA_WORKER = "web:7-12:JAVA_DYNAMIC_QUEUES,mail"
JAVA_FAILED = (
    b'{"failed_at":"2026-11-30T16:08:29.123+0100","payload":{"class":"Hello","args":[1.5],"vars":{"k":1}},'
    b'"exception":"java.lang.IllegalStateException","error":"no","backtrace":["\\tat Hello.run(Hello.java:7)"],'
    b'"worker":"web:7-12:mail","queue":"mail"}'
)


@pytest.fixture
async def resque(redis_url: str) -> AsyncIterator[Resque]:
    """Our side."""
    async with Resque(redis_url) as both:
        yield both


@pytest.fixture
async def start(redis_url: str) -> AsyncIterator[StartScheduler]:
    """Schedulers of ours."""
    async with schedulers(redis_url, lease_s=0.4) as start:
        yield start


async def test_jobs_of_pyres_are_worked_and_kept(
    redis_url: str, redis: Any, resque: Resque
) -> None:
    """What it writes beside the arguments stays where a job is retried, as the rest of its text."""
    await replay(redis, "pyres-01-all")
    raws = await redis.lrange("resque:queue:mail", 0, -1)
    seen: list[Any] = []
    async with working(redis_url, {"shop.Mail": lambda *args: seen.append(args)}, "mail") as work:
        await work.until(2)
    assert seen == [(1, "é/☃", [], {"a": {"b": 1.0}}, None), ()]

    await redis.rpush("resque:queue:mail", *raws)
    async with working(redis_url, {}, "mail", events=("failure",)) as work:
        await work.until(2)
    assert await resque.retry_all_failed(class_name="shop.Mail") == 2
    assert sorted(await redis.lrange("resque:queue:mail", 0, -1)) == sorted(raws)


async def test_what_failed_in_pyres(redis: Any, resque: Resque) -> None:
    """It is listed by its class, and its job goes back."""
    await replay(redis, "pyres-01-all")
    [entry] = await resque.failed()
    assert (entry.class_name, entry.args, entry.queue) == ("shop.Bad", [1.5, {"n": 2}], "mail")
    assert await resque.retry_and_remove_failed(entry)
    raw = json.loads(await redis.lindex("resque:queue:mail", -1))
    assert raw.keys() == {"class", "args", "enqueue_timestamp"}


async def test_delayed_jobs_of_pyres(redis: Any, resque: Resque, start: StartScheduler) -> None:
    """It has no index of them: they are found all the same, and promoted."""
    await replay(redis, "pyres-01-all")
    assert await resque.delayed_count() == 1
    assert await resque.del_delayed("mail", "shop.Mail", [2]) == [3_786_912_000_000]
    await replay(redis, "pyres-01-all")
    await redis.rename("resque:delayed:3786912000", "resque:delayed:1000")
    await redis.delete("resque:delayed_queue_schedule")
    await redis.zadd("resque:delayed_queue_schedule", {"1000": 1000})
    raw = b'{"class": "shop.Mail", "queue": "mail", "args": [2]}'
    await start()
    await wait_for(lambda: redis.lpos("resque:queue:mail", raw))


async def test_its_worker_is_shown_and_never_taken_for_dead(
    redis: Any, redis_url: str, resque: Resque
) -> None:
    """It sends no heartbeat, and writes its times as seconds."""
    await replay(redis, "pyres-01-all")
    [worker] = await all_workers(resque)
    assert (worker.worker_id, worker.class_name) == (f"{HOST}:4002:low,other", "shop.Slow")
    assert worker.began_ms == 1_796_054_921_000
    assert worker.life(4_000_000_000_000) == "can't tell"
    async with CareScene(redis_url) as scene:
        await scene.look()
        assert scene.told_of("clean_stuck_worker") == []
    assert await redis.scard("resque:workers") == 1


@pytest.mark.parametrize(
    ("worker", "failed"), [(GO_WORKER, GO_FAILED), (JAVA_WORKER, JAVA_FAILED)], ids=["go", "java"]
)
async def test_go_and_java(redis: Any, resque: Resque, worker: str, failed: bytes) -> None:
    """Workers are shown, what failed is listed and goes back as it was."""
    await redis.sadd("resque:workers", worker)
    await redis.set(f"resque:worker:{worker}", GO_RECORD)
    await redis.rpush("resque:failed", failed)
    [seen] = await all_workers(resque)
    assert (seen.worker_id, seen.class_name, seen.registered) == (worker, "Hello", True)
    assert WorkerId.parse(worker).host == "web"
    assert seen.works("mail")
    assert seen.began_ms == 1_796_051_309_500
    [entry] = await resque.failed()
    assert (entry.class_name, entry.queue, entry.error) == ("Hello", "mail", "no")
    assert await resque.retry_and_remove_failed(entry)
    payload = failed.partition(b'"payload":')[2].partition(b',"exception"')[0]
    assert await redis.lrange("resque:queue:mail", 0, -1) == [payload]
