"""What real Ruby and Node programs left is repaired completely, byte for byte."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from resqpy.base import codec
from resqpy.base.model import Job, UnreadableJob
from resqpy.engine.inspect.inspector import Resque
from tests.support.recordings import recordings, replay
from tests.support.redis_state import dump

INSTALLATIONS = ["ruby-installation", "node-installation"]


@pytest.fixture
async def resque(redis_url: str) -> AsyncIterator[Resque]:
    """Our side on the test's Redis."""
    async with Resque(redis_url) as both:
        yield both


@pytest.mark.parametrize("name", recordings())
async def test_every_list_of_every_recording(name: str, resque: Resque, redis: Any) -> None:
    """Nothing that was recorded breaks a listing, and each shows all there is."""
    await replay(redis, name)
    state = await dump(redis)

    details = await resque.details()
    assert set(details["queues"]) == set(state.get("resque:queues", ()))
    assert set(details["workers"]) == set(state.get("resque:workers", ()))
    for queue, length in details["queues"].items():
        jobs = [job async for job in resque.each_queued(queue)]
        assert [job.raw.decode() for job in jobs] == state.get(f"resque:queue:{queue}", [])
        assert len(jobs) == length
    assert len([e async for e in resque.each_failed()]) == details["failed"]
    delayed = [job async for _, job in resque.each_delayed()]
    assert len(delayed) == sum(
        len(items) for key, items in state.items()
        if key.startswith("resque:delayed:") and isinstance(items, list)
    )  # fmt: skip
    counters = {key for key in state if key.startswith("resque:stat:")}
    assert {f"resque:stat:{counter}" for counter in await resque.stats()} == counters
    locks = {key for key in state if key.startswith(("resque:lock:", "resque:workerslock:"))}
    assert {f"resque:{lock}" for lock in await resque.locks()} == locks


@pytest.mark.parametrize("name", INSTALLATIONS)
async def test_all_failures_are_retried(name: str, resque: Resque, redis: Any) -> None:
    """Each job of each entry is in its queue, with the text it had there; what Ruby retried, when asked."""
    await replay(redis, name)
    entries = await resque.failed(0, -1)
    before = {
        queue: await redis.lrange(f"resque:queue:{queue}", 0, -1) for queue in await resque.queues()
    }
    possible = [entry for entry in entries if entry.job_raw is not None]
    fresh = [entry for entry in possible if entry.retried_at is None]

    assert await resque.retry_all_failed() == len(fresh) > 0
    assert await resque.retry_all_failed(retried=True) == len(possible) - len(fresh)

    expected: Counter[tuple[str, bytes]] = Counter()
    for queue, jobs in before.items():
        expected.update((queue, raw) for raw in jobs)
    for entry in possible:
        raw = entry.job_raw or b""
        expected[
            entry.queue or "", codec.mend_args(raw) if entry.was_cleaned_by_force else raw
        ] += 1
    found: Counter[tuple[str, bytes]] = Counter()
    for queue in await resque.queues():
        found.update((queue, raw) for raw in await redis.lrange(f"resque:queue:{queue}", 0, -1))
    assert found == expected
    assert await resque.failed_count() == len(entries) - len(possible)


@pytest.mark.parametrize("name", INSTALLATIONS)
async def test_all_workers_are_cleaned(name: str, resque: Resque, redis: Any) -> None:
    """Nothing is left of them but the failed entries of the busy ones, and those count."""
    await replay(redis, name)
    busy = {each: work for each, work in (await resque.all_working_on()).items() if work}
    failed = await resque.failed_count()
    counted = (await resque.stats()).get("failed", 0)

    cleaned = {each: await resque.force_clean_worker(each) for each in await resque.workers()}

    assert {each for each, entry in cleaned.items() if entry is not None} == set(busy)
    for each, work in busy.items():
        entry = cleaned[each]
        assert entry is not None
        assert work.payload is not None
        assert (entry.class_name, entry.queue) == (work.payload["class"], work.queue)
    assert await resque.failed_count() == failed + len(busy)
    assert (await resque.stats())["failed"] == counted + len(busy)
    assert await resque.workers() == {}
    left = {key.decode() async for key in redis.scan_iter("resque:worker:*")}
    assert not {key for key in left if any(each in key for each in cleaned)}
    assert await redis.hgetall("resque:workers:heartbeat") == {}


@pytest.mark.parametrize("name", INSTALLATIONS)
async def test_all_delayed_jobs_are_found_by_their_arguments(
    name: str, resque: Resque, redis: Any
) -> None:
    """Whichever side wrote them, `scheduled_at` and `del_delayed` find each by what it says."""
    await replay(redis, name)
    jobs = [(at, job) async for at, job in resque.each_delayed()]
    assert jobs
    for at, job in jobs:
        assert at in await resque.scheduled_at(job.queue, job.class_name, job.args)
    for _, job in jobs:
        await resque.del_delayed(job.queue, job.class_name, job.args)
    assert await resque.all_delayed() == {}
    assert [key async for key in redis.scan_iter("resque:timestamps:*")] == []


def usual(job: Job) -> bool:
    """Whether a job has the form that Ruby or Node gives to an enqueue."""
    orders = (["class", "args"], ["class", "queue", "args"])
    return not isinstance(job, UnreadableJob) and list(json.loads(job.raw)) in orders


@pytest.mark.parametrize("name", INSTALLATIONS)
async def test_all_jobs_are_deleted_by_their_arguments(
    name: str, resque: Resque, redis: Any
) -> None:
    """Every job in every queue, but those that somebody pushed by hand in a form of his own."""
    await replay(redis, name)
    for queue in await resque.queues():
        jobs = await resque.queued(queue, 0, -1)
        for job in filter(usual, jobs):
            await resque.delete(queue, job.class_name, job.args)
        assert await resque.queued(queue, 0, -1) == [job for job in jobs if not usual(job)]
