"""What stands on the record of a slot and is no job of its own: it stays, is told, and holds up nobody."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from resqpy import Queue
from resqpy.base import job_records
from resqpy.base.model import WorkerId
from tests.support.junk import KINDS, put_junk
from tests.support.waiting import wait_for
from tests.support.working import QUIET, Working, new_worker, working

JOB = b'{"class":"no_op","queue":"q","args":["stranger"]}'


async def no_op(*_: Any) -> None:
    """A task."""


def of(name: str) -> bytes:
    """A record as a worker of that name would write it."""
    return (
        job_records.work_prefix("q", "2026-11-21T00:00:00.000000Z")
        + JOB
        + job_records.work_suffix(name)
    )


RECORDS = {
    **{kind: b"" for kind in KINDS if kind != "string"},
    "text": b"what is this?",
    "bytes": b"\xff\xfe",
    "empty": b"",
    "JSON": b'{"a":1}',
    "Ruby's": b'{"queue":"q","run_at":"2026","payload":' + JOB + b"}",
    "another's": of("host+1-abcd1234:1"),
}


async def spoil(redis: Any, worker_id: WorkerId, what: str) -> bytes:
    """Put something on its record; all of it, as Redis gives it away."""
    key = f"resque:worker:{worker_id}"
    if what in KINDS:
        await put_junk(redis, key, what)
    else:
        await redis.set(key, RECORDS[what])
    return bytes(await redis.dump(key))


@pytest.mark.parametrize("what", ["set", "JSON"])
async def test_at_a_stop(redis_url: str, redis: Any, what: str) -> None:
    """A stop comes to its end, tells of it, and leaves it to the rescue."""
    work = Working(new_worker(redis_url, {"no_op": no_op}, "q", slots=2), QUIET)
    async with work.worker:
        await work.until_quiet()
        first, second = work.worker.worker_ids
        before = await spoil(redis, first, what)
    assert str(first) in work.errors
    assert str(second) not in work.errors
    assert await redis.dump(f"resque:worker:{first}") == before
    assert await redis.smembers("resque:workers") == {str(first).encode()}


@asynccontextmanager
async def spoiled(
    url: str, redis: Any, what: str, **options: Any
) -> AsyncIterator[tuple[Working, str]]:
    """A worker with a spoiled slot, the only one; its key. At the end the key is as it was."""
    async with working(url, {"no_op": no_op}, "q", **options) as work:
        await work.until_quiet()
        [worker_id] = work.worker.worker_ids
        before = await spoil(redis, worker_id, what)
        yield work, f"resque:worker:{worker_id}"
    assert await redis.dump(f"resque:worker:{worker_id}") == before


@pytest.mark.parametrize("what", RECORDS)
async def test_the_only_slot(redis_url: str, redis: Any, what: str) -> None:
    """It is told once, a slot with a fresh number takes its place, and all jobs are worked."""
    async with (
        Queue(redis_url) as queue,
        spoiled(redis_url, redis, what, heartbeat_s=60, timeout_s=60) as (work, key),
    ):
        for count in (3, 6):
            await queue.enqueue_many([("q", "no_op", [n]) for n in range(3)])
            await work.until(count)
        assert len(work.args("error")) == 1
        assert key.removeprefix("resque:worker:") in work.errors
        assert [str(each) for each in work.worker.worker_ids] != [
            key.removeprefix("resque:worker:")
        ]
    ran = [args[2].args for args in work.args("success")]
    assert ["stranger"] not in ran
    assert await redis.llen("resque:queue:q") == 0


@pytest.mark.parametrize("what", ["hash", "text", "another's"])
async def test_a_slot_among_others(redis_url: str, redis: Any, what: str) -> None:
    """As many work as before, and each spoiled one is told once."""
    async with (
        Queue(redis_url) as queue,
        working(redis_url, {"no_op": no_op}, "q", slots=5, heartbeat_s=60) as work,
    ):
        await work.until_quiet()
        for worker_id in work.worker.worker_ids[1:4]:
            await spoil(redis, worker_id, what)
        await queue.enqueue_many([("q", "no_op", [n]) for n in range(100)])
        await work.until(100)
        await wait_for(lambda: len(work.worker.worker_ids) == 5)
        assert len(work.args("error")) == 3


@pytest.mark.parametrize("what", ["zset", "text"])
async def test_a_slot_that_closes(redis_url: str, redis: Any, what: str) -> None:
    """Its record is not deleted, its number not used again; and that is told, too."""
    async with working(redis_url, {"no_op": no_op}, "q", slots=2, heartbeat_s=60) as work:
        await work.until_quiet()
        last = work.worker.worker_ids[-1]
        before = await spoil(redis, last, what)
        pool = work.worker.pool
        pool.close_slots(1)
        await wait_for(lambda: len(pool.slots.all) == 1)
        await pool.open_slots(1)
        assert last not in work.worker.worker_ids
        await wait_for(lambda: str(last) in work.errors)
    assert await redis.dump(f"resque:worker:{last}") == before


async def test_a_record_that_is_replaced_while_its_job_runs(redis_url: str, redis: Any) -> None:
    """The end is void and told, what stands there stays, and the next job is worked by another slot."""
    async with (
        Queue(redis_url) as queue,
        working(redis_url, {"no_op": no_op, "replace": replaced(redis)}, "q") as work,
    ):
        [worker_id] = work.worker.worker_ids
        await queue.enqueue("q", "replace", [f"resque:worker:{worker_id}"])
        await queue.enqueue("q", "no_op")
        await wait_for(lambda: work.args("success"))
        assert "its end is void" in work.errors
        assert str(worker_id) in work.errors
    assert await redis.lrange(f"resque:worker:{worker_id}", 0, -1) == [b"junk"]


async def test_a_record_that_comes_back_while_another_job_runs(redis_url: str, redis: Any) -> None:
    """As after a failover: its job runs at once, although no other job comes."""

    async def bring_back(key: str, name: str) -> None:
        await redis.set(key, of(name))

    jobs = {"no_op": no_op, "bring_back": bring_back}
    async with Queue(redis_url) as queue, working(redis_url, jobs, "q", heartbeat_s=60) as work:
        [worker_id] = work.worker.worker_ids
        await queue.enqueue("q", "bring_back", [f"resque:worker:{worker_id}", worker_id.name])
        await wait_for(lambda: work.args("success"))
        assert "its end is void" in work.errors
        assert work.args("success")[0][2].args == ["stranger"]
    assert await redis.exists(f"resque:worker:{worker_id}") == 0


def replaced(redis: Any) -> Any:
    """A task that puts junk on the record of its own worker."""

    async def replace(key: str) -> None:
        await put_junk(redis, key, "list")

    return replace
