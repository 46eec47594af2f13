"""Each side lists, cleans, retries and removes what the other wrote: the real node-resque."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from resqpy.base import codec, job_records, json_rules
from resqpy.engine.inspect.inspector import Resque
from resqpy.engine.worker.worker import Worker
from tests.support.foreign import ForeignError, NodeDriver
from tests.support.inspecting import dumps, failed_entry
from tests.support.waiting import wait_for

LATER_MS = (int(time.time()) + 100_000) * 1000

# Arguments that JavaScript has exactly.
ARGS: list[Any] = [
    1,
    "é\u2028😀",
    {"b": 2, "a": [], "e": {}},
    None,
    True,
    0.1,
    1e21,
    1e-7,
    -1.5,
    'a/b\\"',
]


@pytest.fixture
async def resque(redis_url: str) -> AsyncIterator[Resque]:
    """Our side."""
    async with Resque(redis_url) as both:
        yield both


# -- texts --


def anything(rng: random.Random, room: int = 3) -> Any:
    """A JSON value, with a liking for odd numbers and keys."""
    kinds: list[Any] = [
        lambda: rng.choice(
            [0, 1.0, -0.0, 2**53 + 1, 10**21, 1e15, 1e16, 1e-5, 1e-7, 5e-324, 1e20, 0.1]
        ),
        lambda: rng.uniform(-1, 1) * 10.0 ** rng.randint(-30, 30),
        lambda: rng.randint(-(10**18), 10**18),
        lambda: "".join(
            chr(rng.choice([rng.randint(0, 0x2FF), 0x2028, 0x1F600, 0x7F])) for _ in range(5)
        ),
        lambda: rng.choice([None, True, False, "", [], {}]),
    ]
    if room:
        inner = room - 1
        kinds += [
            lambda: [anything(rng, inner) for _ in range(rng.randint(0, 3))],
            lambda: {rng.choice(["b", "a", "2", "10", "01", "é", "-1"]): anything(rng, inner) for _ in range(3)},
        ]  # fmt: skip
    return rng.choice(kinds)()


async def test_we_print_arguments_as_node_does(node: NodeDriver) -> None:
    """Five hundred random values: our lock text and one of our spellings is Node's own text."""
    rng = random.Random(17)
    values = [[anything(rng)] for _ in range(500)]

    texts = await asyncio.gather(*(node.call("queue.encode", "q", "A", args) for args in values))

    for args, text in zip(values, texts, strict=True):
        assert text == f'{{"class":"A","queue":"q","args":{json_rules.stringify(args)}}}'
        assert text.encode() in codec.spellings("A", "q", args)


# -- queues --


async def test_listings_are_equal(node: NodeDriver, resque: Resque) -> None:
    """What both enqueued, as both show it."""
    await node.call("queue.enqueue", "q", "Echo", ARGS)
    await resque.enqueue("q", "Echo", ARGS)
    await resque.enqueue("é:b", "Echo", [])
    await node.call("queue.enqueueAt", LATER_MS, "q", "Echo", ARGS)
    await resque.enqueue_at(LATER_MS, "q", "Other", ARGS)

    assert sorted(await node.call("queue.queues")) == await resque.queues()
    assert await node.call("queue.length", "q") == await resque.length("q") == 2
    ours = [job.to_dict() for job in await resque.queued("q")]
    assert await node.call("queue.queued", "q", 0, -1) == ours
    assert len({job.raw for job in await resque.queued("q")}) == 1
    assert await node.call("queue.timestamps") == await resque.timestamps() == [LATER_MS]
    delayed = [job.to_dict() for job in await resque.delayed_at(LATER_MS)]
    assert (await node.call("queue.delayedAt", LATER_MS))["tasks"] == delayed
    everything = {
        str(at): [job.to_dict() for job in jobs]
        for at, jobs in (await resque.all_delayed()).items()
    }
    assert await node.call("queue.allDelayed") == everything


async def test_each_deletes_what_the_other_enqueued(node: NodeDriver, resque: Resque) -> None:
    """By arguments, by function, by time, and whole queues."""
    await node.call("enqueueAll", "q", "Echo", [ARGS, ARGS, [1.5], [2]])
    assert await resque.delete("q", "Echo", ARGS) == 2
    assert await resque.del_by_function("q", "Echo", 0, 0) == 1
    assert await resque.del_queue("q") == 1

    await resque.enqueue_many(
        [("q", "Echo", ARGS), ("q", "Echo", ARGS), ("q", "Echo", [2]), ("q", "B", [])]
    )
    assert await node.call("queue.del", "q", "Echo", ARGS) == 2
    assert await node.call("queue.delByFunction", "q", "Echo") == 1
    await node.call("queue.delQueue", "q")
    assert await resque.queues() == []


async def test_delayed_jobs_are_found_by_both(node: NodeDriver, resque: Resque) -> None:
    """Also by Node what we wrote, where JavaScript prints it so; duplicates are seen by both."""
    await node.call("queue.enqueueAt", LATER_MS, "q", "Echo", ARGS)
    await resque.enqueue_at(LATER_MS + 5000, "q", "Echo", ARGS)

    times = [LATER_MS, LATER_MS + 5000]
    assert await resque.scheduled_at("q", "Echo", ARGS) == times
    found = await node.call("queue.scheduledAt", "q", "Echo", ARGS)
    assert sorted(found) == [at // 1000 for at in times]
    with pytest.raises(ForeignError, match="already enqueued"):
        await node.call("queue.enqueueAt", LATER_MS + 5000, "q", "Echo", ARGS)
    assert not await resque.enqueue_at(
        LATER_MS, "q", "Echo", ARGS, suppress_duplicate_task_error=True
    )

    assert await resque.del_delayed("q", "Echo", ARGS) == times
    await resque.enqueue_at(LATER_MS, "q", "Echo", ARGS)
    assert await node.call("queue.delDelayed", "q", "Echo", ARGS) == [LATER_MS // 1000]
    assert await resque.scheduled_at("q", "Echo", ARGS) == []


async def test_floats_that_node_prints_otherwise(node: NodeDriver, resque: Resque) -> None:
    """Trap 18: we find Node's job by 1.0; Node does not find ours, which keeps its text."""
    await node.call("queue.enqueue", "q", "Echo", [1.0])
    assert await resque.delete("q", "Echo", [1.0]) == 1
    await resque.enqueue("q", "Echo", [1.0])
    assert await node.call("queue.del", "q", "Echo", [1.0]) == 0


# -- failures --


async def fail_in_node(node: NodeDriver, *args: Any) -> None:
    """Let a job fail over there."""
    await node.call("worker.start", {"queues": ["q"]})
    await node.call("queue.enqueue", "q", "Fail", list(args))
    await node.wait_event("failure")
    await node.call("worker.stop")


async def test_we_repair_what_failed_in_node(node: NodeDriver, resque: Resque, redis: Any) -> None:
    """Shown alike, removed, retried with its exact bytes."""
    await fail_in_node(node, "boo")
    [entry] = await resque.failed()
    assert await node.call("queue.failed", 0, -1) == [json.loads(entry.raw)]
    assert (entry.class_name, entry.error, entry.queue) == ("Fail", "boo", "q")
    assert await node.call("queue.failedCount") == await resque.failed_count() == 1

    assert await resque.retry_and_remove_failed(entry)
    assert await redis.lrange("resque:queue:q", 0, -1) == [
        b'{"class":"Fail","queue":"q","args":["boo"]}'
    ]
    assert await node.call("queue.failedCount") == 0


async def fail_here(redis_url: str, resque: Resque, args: list[Any]) -> None:
    """Let a job fail in a worker of ours."""

    def fail(*_: Any) -> None:
        raise ValueError("böse\n\u2028")

    before = await resque.failed_count()
    async with Worker(redis_url, {"Fail": fail}, queues=["q"]):
        await resque.enqueue("q", "Fail", args)
        await wait_for(_grown(resque, before))


def _grown(resque: Resque, before: int) -> Any:
    async def check() -> bool:
        return await resque.failed_count() > before

    return check


async def test_node_repairs_what_failed_here(
    node: NodeDriver, resque: Resque, redis: Any, redis_url: str
) -> None:
    """An entry of ours is one of Node's, as long as JavaScript prints its numbers so (trap 15)."""
    await fail_here(redis_url, resque, ARGS)
    await fail_here(redis_url, resque, ["removed"])
    ours = await resque.failed()
    theirs = await node.call("queue.failed", 0, -1)
    assert theirs == [json.loads(entry.raw) for entry in ours]
    assert list(theirs[0]) == [
        "worker", "queue", "payload", "exception", "error", "backtrace", "failed_at",
    ]  # fmt: skip

    assert await node.call("queue.retryAndRemoveFailed", theirs[0]) is True
    assert await node.call("queue.removeFailed", theirs[1]) == 1

    [job] = await resque.queued("q")
    assert job.args == ARGS
    assert await resque.failed_count() == 0


@pytest.mark.parametrize("args", [[1.0], [1e16], [2**53 + 1], [{"2": 1, "1": 2}]])
async def test_what_node_refuses_to_retry_we_retry(
    args: list[Any], node: NodeDriver, resque: Resque, redis: Any, redis_url: str
) -> None:
    """Trap 15: Node compares its own print of an entry; we compare bytes."""
    await fail_here(redis_url, resque, args)
    [theirs] = await node.call("queue.failed", 0, -1)
    with pytest.raises(ForeignError, match="not in failed queue"):
        await node.call("queue.retryAndRemoveFailed", theirs)
    assert await resque.retry_all_failed() == 1
    [job] = await resque.queued("q")
    assert repr(job.args) == repr(args)


# -- workers --


async def test_workers_are_shown_by_both(node: NodeDriver, resque: Resque, redis_url: str) -> None:
    """A busy worker of each side, and what it does."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def hold(*_: Any) -> None:
        begun.set()
        await go_on.wait()

    await node.call("multiWorker.start", {"min": 1, "max": 1, "queues": ["theirs"]})
    await node.call("queue.enqueue", "theirs", "Sleep", [5000])
    async with Worker(redis_url, {"Hold": hold}, queues=["ours", "more"]):
        await resque.enqueue("ours", "Hold", ARGS)
        await begun.wait()
        await wait_for(_busy(resque, 2))

        seen = await resque.all_working_on()
        names = {worker.name: worker.queues for worker in (await resque.workers()).values()}
        working = {work.worker: work.payload["class"] for work in seen.values() if work is not None}
        assert set(working.values()) == {"Hold", "Sleep"}
        assert await node.call("queue.workers") == names
        theirs = await node.call("queue.allWorkingOn")
        assert {
            name: job["payload"]["class"] for name, job in theirs.items() if name in working
        } == working
        assert await node.call("queue.cleanOldWorkers", 60_000) == {}  # nobody's job is that old
        assert await node.call("queue.workers") == names
        go_on.set()


async def test_both_forms_of_our_ids_are_names_to_node(
    node: NodeDriver, resque: Resque, redis: Any
) -> None:
    """It tells slots apart that are one host, cleans one alone, and keeps its hands off the others."""
    old = ["box+1-abcd1234:7", "box+2-abcd1234:7"]
    later = ["box+resqpy:7-1-abcd1234", "box+resqpy:7-2-abcd1234"]
    for name in (*old, *later):
        await redis.sadd("resque:workers", f"{name}:q,r")
        record = job_records.work_prefix("q", "2026-01-01T00:00:00.000000Z")
        record += b'{"class":"Echo","queue":"q","args":[]}' + job_records.work_suffix(name)
        await redis.set(f"resque:worker:{name}:q,r", record)

    assert await node.call("queue.workers") == dict.fromkeys((*old, *later), "q,r")
    assert set(await node.call("queue.allWorkingOn")) == {*old, *later}
    await node.call("queue.forceCleanWorker", later[0])
    assert set(await node.call("queue.workers")) == {*old, later[1]}
    assert len({name.partition(":")[0] for name in later}) == 1  # as resque-web groups them


def _busy(resque: Resque, number: int) -> Any:
    async def check() -> bool:
        return sum(work is not None for work in (await resque.all_working_on()).values()) == number

    return check


async def test_we_clean_a_killed_worker_of_node(
    node: NodeDriver, resque: Resque, redis: Any
) -> None:
    """Trap 9: its record goes too, and one failure is counted."""
    await node.call("worker.start", {"queues": ["q"]})
    await node.call("queue.enqueue", "q", "Sleep", [60_000])
    await wait_for(_busy(resque, 1))
    await node.kill()

    cleaned = await resque.clean_old_workers(0)

    [entry] = cleaned.values()
    assert (entry.class_name, entry.args) == ("Sleep", [60_000])
    assert await resque.workers() == {}
    assert (await resque.stats())["failed"] == 1
    left = [key async for key in redis.scan_iter("resque:worker*")]
    assert left == []


async def test_node_retries_what_we_cleaned(
    start_node: Any, node: NodeDriver, resque: Resque, redis: Any
) -> None:
    """Its `retryStuckJobs` knows our entry, and we know its."""
    record = job_records.work_prefix("q", "2026-01-01T00:00:00.000000Z")
    record += b'{"class":"Echo","queue":"q","args":[]}' + job_records.work_suffix("h+1-abc:7")
    for pid in (7, 8):
        await redis.sadd("resque:workers", f"h+1-abc:{pid}:q")
        await redis.set(f"resque:worker:h+1-abc:{pid}:q", record)

    assert await resque.force_clean_worker("h+1-abc:7:q") is not None
    await node.call("queue.retryStuckJobs")
    await node.call("queue.forceCleanWorker", "h+1-abc:8")
    assert await resque.retry_stuck_jobs() == 1

    assert [job.raw for job in await resque.queued("q")] == [
        b'{"class":"Echo","queue":"q","args":[]}'
    ] * 2
    assert await resque.failed_count() == await node.call("queue.failedCount") == 0


async def test_a_null_backtrace_breaks_node_but_not_us(
    node: NodeDriver, resque: Resque, redis: Any
) -> None:
    """Trap 16."""
    stuck = failed_entry(backtrace=["killed", "queue#forceCleanWorker"])
    await redis.rpush("resque:failed", failed_entry(backtrace=None), stuck)
    with pytest.raises(ForeignError, match="null"):
        await node.call("queue.retryStuckJobs")
    assert await resque.retry_stuck_jobs() == 1


async def test_junk_breaks_nodes_lists_but_not_ours(
    node: NodeDriver, resque: Resque, redis: Any
) -> None:
    """Traps 13, 19 and 20."""
    await redis.rpush("resque:queue:q", b"junk")
    await redis.rpush("resque:failed", b"")
    await redis.hset("resque:delayed:last_enqueued_at", "a", "b")
    await redis.sadd("resque:workers", "h:1:q")
    await redis.set("resque:worker:h:1:q", b"junk")
    for call in (("queued", "q", 0, -1), ("failed", 0, -1), ("allWorkingOn",)):
        with pytest.raises(ForeignError):
            await node.call(f"queue.{call[0]}", *call[1:])
    assert await node.call("queue.timestamps") == [None]  # NaN

    assert [job.raw for job in await resque.queued("q")] == [b"junk"]
    assert [entry.raw for entry in await resque.failed()] == [b""]
    assert list(await resque.all_working_on()) == ["h:1:q"]
    assert await resque.timestamps() == []


async def test_locks_and_stats_are_equal(node: NodeDriver, resque: Resque, redis: Any) -> None:
    """As both list them."""
    await redis.mset({"resque:lock:A:q:[1]": "17", "resque:workerslock:A:q:[é]": "18"})
    await fail_in_node(node)

    assert await node.call("queue.locks") == await resque.locks()
    theirs = await node.call("queue.stats")
    assert {name: int(value) for name, value in theirs.items()} == await resque.stats()
    assert await node.call("queue.delLock", "lock:A:q:[1]") == 1
    assert list(await resque.locks()) == ["workerslock:A:q:[é]"]
    await node.call("scheduler.start")
    await wait_for(_leads(resque))
    assert await node.call("queue.leader") == await resque.leader()


def _leads(resque: Resque) -> Any:
    async def check() -> bool:
        return await resque.leader() is not None

    return check


async def test_one_bad_job_of_ours_can_not_exist(node: NodeDriver, resque: Resque) -> None:
    """Every random value that we accept is run by Node with the value that JSON has for it."""
    rng = random.Random(7)
    values = [[anything(rng)] for _ in range(100)]
    await resque.enqueue_many([("q", "Echo", args) for args in values])
    await node.call("worker.start", {"queues": ["q"]})

    seen = [(await node.wait_event("success")).args[1]["args"] for _ in values]

    assert [json_rules.stringify(args) for args in seen] == [
        json_rules.stringify(args) for args in values
    ]
    assert dumps(seen)
