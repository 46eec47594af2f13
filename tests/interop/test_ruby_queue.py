"""Each side lists, cleans, retries and removes what the other wrote: the real Ruby resque."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from resqpy.base import codec
from resqpy.engine.inspect.inspector import Resque
from resqpy.engine.worker.worker import Worker
from tests.interop.test_node_queue import ARGS, anything
from tests.support.foreign import ForeignDied, ForeignError, RubyDriver
from tests.support.inspecting import failed_entry
from tests.support.waiting import wait_for
from tests.support.working import working

LATER_S = int(time.time()) + 100_000


@pytest.fixture
async def resque(redis_url: str) -> AsyncIterator[Resque]:
    """Our side."""
    async with Resque(redis_url) as both:
        yield both


def shown(job: Any) -> dict[str, Any]:
    """As Ruby shows a job of its own: without its queue."""
    return {"class": job.class_name, "args": job.args}


async def test_our_spellings_have_rubys_own(ruby: RubyDriver, resque: Resque, redis: Any) -> None:
    """Three hundred random values that Ruby enqueued: its very text is one of ours."""
    rng = random.Random(23)
    values = [[anything(rng)] for _ in range(300)]
    assert await ruby.call("enqueue_all", "q", "Echo", values) == 300

    raws = await redis.lrange("resque:queue:q", 0, -1)

    for args, raw in zip(values, raws, strict=True):
        assert raw in codec.spellings("Echo", "q", args), (args, raw)
    for args in values:
        await resque.delete("q", "Echo", args)
    assert await resque.length("q") == 0


async def test_listings_are_equal(ruby: RubyDriver, resque: Resque) -> None:
    """What both enqueued, as both show it."""
    await ruby.call("enqueue_to", "q", "Echo", ARGS)
    await resque.enqueue("é:b", "Echo", ARGS)

    assert sorted(await ruby.call("queues")) == await resque.queues()
    sizes = {name: int(size) for name, size in (await ruby.call("queue_sizes")).items()}
    assert sizes == await resque.lengths()
    assert await ruby.call("peek", "q") == [shown(job) for job in await resque.queued("q")]
    assert await ruby.call("peek", "é:b") == [job.to_dict() for job in await resque.queued("é:b")]


async def test_each_deletes_what_the_other_enqueued(ruby: RubyDriver, resque: Resque) -> None:
    """By arguments and by function; Ruby needs its own key order, or the class alone (trap 18)."""
    await ruby.call("enqueue_all", "q", "Echo", [ARGS, ARGS, [1.0], [2]])
    assert await resque.delete("q", "Echo", ARGS) == 2
    assert await resque.delete("q", "Echo", [1.0]) == 1
    assert await resque.del_by_function("q", "Echo") == 1

    await resque.enqueue_many([("q", "Echo", ARGS), ("q", "Echo", [2])])
    assert await ruby.call("dequeue", "q", "Echo", ARGS) == 0
    assert await ruby.call("dequeue", "q", "Echo") == 2
    await ruby.call("remove_queue", "q")
    assert await resque.queues() == []


async def test_delayed_jobs_of_ruby_are_found(ruby_scheduler: RubyDriver, resque: Resque) -> None:
    """Listed, found by arguments with floats, seen as duplicates, removed."""
    args = [1.0, 1e-5, 1e16, "é"]
    await ruby_scheduler.call("enqueue_at_with_queue", "q", LATER_S, "Echo", args)

    assert await resque.timestamps() == [LATER_S * 1000]
    [job] = await resque.delayed_at(LATER_S * 1000)
    assert (job.queue, job.class_name, job.args) == ("q", "Echo", args)
    assert await resque.scheduled_at("q", "Echo", args) == [LATER_S * 1000]
    assert not await resque.enqueue_at(
        LATER_S * 1000, "q", "Echo", args, suppress_duplicate_task_error=True
    )
    assert await resque.del_delayed("q", "Echo", args) == [LATER_S * 1000]
    assert await ruby_scheduler.call("delayed.count") == 0


async def test_delayed_jobs_of_ours_are_listed_by_ruby(
    ruby_scheduler: RubyDriver, resque: Resque
) -> None:
    """And removed by class."""
    await resque.enqueue_at(LATER_S * 1000, "q", "Echo", ARGS)
    assert await ruby_scheduler.call("delayed.timestamps") == [LATER_S]
    [[job]] = (await ruby_scheduler.call("delayed.all")).values()
    assert job == {"class": "Echo", "queue": "q", "args": ARGS}
    await ruby_scheduler.call("remove_delayed_class", "Echo")
    assert await resque.all_delayed() == {}


# -- failures --


async def test_we_repair_what_failed_in_ruby(ruby: RubyDriver, resque: Resque, redis: Any) -> None:
    """Shown alike, retried with the job's exact bytes, removed."""
    await ruby.call("enqueue_all", "q", "Fail", [["boo", 1.0, 1e-5, 2**64], ["removed"]])
    raws = await redis.lrange("resque:queue:q", 0, -1)
    await ruby.call("worker.drain", {"queues": ["q"]})

    entries = await resque.failed()
    assert await ruby.call("failure.all") == [json.loads(entry.raw) for entry in entries]
    assert await ruby.call("failure.count") == await resque.failed_count() == 2
    assert [entry.class_name for entry in entries] == ["Fail", "Fail"]
    assert entries[0].exception == "RuntimeError"

    assert await resque.retry_and_remove_failed(entries[0])
    assert await resque.remove_failed(entries[1]) == 1
    assert await redis.lrange("resque:queue:q", 0, -1) == raws[:1]
    assert await ruby.call("failure.count") == 0


async def test_failed_lists_of_queues(ruby: RubyDriver, redis_url: str, redis: Any) -> None:
    """With its RedisMultiQueue Ruby finds what has failed here, by queue, and retries it."""
    await ruby.call("failure.multi_queue")
    await redis.rpush("resque:queue:mail", '{"class":"no","args":[1]}')
    more: dict[str, Any] = {"redis": {"failed_per_queue": True}, "events": ("failure",)}
    async with working(redis_url, {"no": {"perform": len}}, "mail", **more) as work:
        await work.until(1)
    assert await ruby.call("failure.queues") == ["mail_failed"]
    assert await ruby.call("failure.count") == 1
    [entry] = await ruby.call("failure.all_of", "mail_failed")
    assert (entry["exception"], entry["queue"]) == ("TypeError", "mail")
    await ruby.call("failure.requeue_all_of", "mail")
    assert await redis.lrange("resque:queue:mail", 0, -1) == [b'{"class":"no","args":[1]}']


async def test_ruby_repairs_what_failed_here(
    ruby: RubyDriver, resque: Resque, redis_url: str
) -> None:
    """By index, as it does: listed with all keys, requeued, removed."""

    def fail(*_: Any) -> None:
        raise ValueError("böse\n\u2028")

    async def both_failed() -> bool:
        return await resque.failed_count() == 2

    async with Worker(redis_url, {"Echo": fail}, queues=["q"]):
        await resque.enqueue_many([("q", "Echo", [*ARGS, 1.0, 2**64]), ("q", "Echo", ["removed"])])
        await wait_for(both_failed)

    theirs = await ruby.call("failure.all")
    assert theirs == [json.loads(entry.raw) for entry in await resque.failed()]
    assert (theirs[0]["exception"], theirs[0]["error"]) == ("ValueError", "böse\n\u2028")
    await ruby.call("failure.requeue", 0)
    await ruby.call("failure.remove", 1)
    marked = await resque.failed()
    assert len(marked) == 1, "Ruby's requeue leaves the entry, marked"
    assert b'"retried_at"' in marked[0].raw

    assert await ruby.call("worker.drain", {"queues": ["q"]}) is not None
    assert await resque.length("q") == 0
    assert await resque.remove_failed(marked[0]) == 1


async def test_the_multi_queue_backend(ruby: RubyDriver, resque: Resque, redis: Any) -> None:
    """Its lists are counted, retried and cleared here; `failed` stays empty."""
    await redis.sadd("resque:failed_queues", "q_failed")
    await redis.rpush("resque:q_failed", failed_entry(), failed_entry(queue="other"))

    assert await resque.failed_lists() == {"failed": 0, "q_failed": 2}
    assert await resque.retry_all_failed(queue="q") == 1
    assert await ruby.call("size", "q") == 1
    assert await resque.remove_all_failed() == 1


# -- workers --


async def test_workers_are_shown_by_both(
    ruby: RubyDriver, resque: Resque, redis: Any, redis_url: str
) -> None:
    """A busy worker of each side, and what it does."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def hold(*_: Any) -> None:
        begun.set()
        await go_on.wait()

    started = await ruby.call("worker.start", {"queues": ["theirs"], "interval": 0.1})
    await ruby.call("enqueue_to", "theirs", "Sleep", [60_000, "é"])
    async with Worker(redis_url, {"Hold": hold}, queues=["ours", "more"]):
        await resque.enqueue("ours", "Hold", ARGS)
        await begun.wait()
        await wait_for(_busy(resque, 2))

        theirs = {worker["id"]: worker for worker in await ruby.call("workers")}
        seen = await resque.all_working_on()
        assert set(theirs) == set(seen)
        for worker_id, work in seen.items():
            assert work is not None
            assert theirs[worker_id]["job"]["payload"] == work.payload
            assert theirs[worker_id]["queues"] == worker_id.split(":")[2].split(",")
        go_on.set()

        await ruby.call("worker.kill", started["pid"])
        cleaned = await resque.force_clean_worker(started["id"])
    assert cleaned is not None
    assert (cleaned.class_name, cleaned.args) == ("Sleep", [60_000, "é"])
    assert await ruby.call("workers") == []
    assert (await ruby.call("failure.all"))[0]["exception"] == "Worker Timeout (killed manually)"
    await resque.retry_stuck_jobs()
    assert await redis.lrange("resque:queue:theirs", 0, -1) == [
        '{"class":"Sleep","args":[60000,"é"]}'.encode()
    ]


def _busy(resque: Resque, number: int) -> Any:
    async def check() -> bool:
        return sum(work is not None for work in (await resque.all_working_on()).values()) == number

    return check


async def test_an_odd_worker_breaks_ruby_and_we_repair_it(
    ruby: RubyDriver, resque: Resque, redis: Any
) -> None:
    """Trap 6: one id with too few parts, and Ruby lists no workers at all."""
    await redis.sadd("resque:workers", "odd")
    with pytest.raises((ForeignError, ForeignDied)):
        await ruby.call("workers")

    await resque.force_clean_worker("odd")

    assert await ruby.call("workers") == []


async def test_counters_are_equal(ruby: RubyDriver, resque: Resque) -> None:
    """Ruby counts a failed job as processed too (wire document, section 4)."""
    await ruby.call("enqueue_to", "q", "Echo", [1])
    await ruby.call("enqueue_to", "q", "Fail", [1])
    await ruby.call("worker.drain", {"queues": ["q"]})
    info = await ruby.call("info")
    details = await resque.details()
    assert details["stats"] == {"processed": info["processed"], "failed": info["failed"]}
    assert info["processed"] == 2


async def test_every_job_we_accept_is_run_by_ruby(
    ruby: RubyDriver, resque: Resque, redis: Any
) -> None:
    """Random values, and they arrive with the type and text that JSON has for them."""
    rng = random.Random(7)
    values = [[anything(rng)] for _ in range(100)]
    await resque.enqueue_many([("q", "Echo", args) for args in values])

    await ruby.call("worker.drain", {"queues": ["q"]})

    ran = [json.loads(entry)["args"] for entry in await redis.lrange("interop:ran", 0, -1)]
    assert repr(ran) == repr(values)
    assert await resque.failed_count() == 0
