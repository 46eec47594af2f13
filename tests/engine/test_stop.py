"""A stop takes nothing more, lets jobs end, cancels the rest, and puts back what did not end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from typing import Any

import pytest

from resqpy import Queue
from resqpy.engine.plugin import Plugin
from tests.support.redis_state import dump
from tests.support.waiting import wait_for
from tests.support.working import QUIET, Working, new_worker, working

Jobs = dict[str, Any]


async def forever(*_: Any) -> None:
    """A task."""
    await asyncio.sleep(3600)


async def no_op(*_: Any) -> None:
    """A task."""


def job(number: int, name: str = "forever", queue: str = "q") -> bytes:
    """A job's bytes, which are not as we would write them."""
    return b'{ "class":"%s", "args":[%d], "queue":"%s" }' % (name.encode(), number, queue.encode())


async def test_a_stop_waits_for_running_jobs(redis_url: str, redis: Any) -> None:
    """Jobs that end within the time are reported; what waits in the queue stays there."""
    gate = asyncio.Event()

    async def wait() -> None:
        await gate.wait()

    async with Queue(redis_url) as queue, working(redis_url, {"wait": wait}, "q") as work:
        await queue.enqueue_many([("q", "wait", [])] * 3)
        await wait_for(lambda: work.args("job"))
        stopping = asyncio.ensure_future(work.worker.stop())
        await asyncio.sleep(0.05)
        assert not stopping.done()
        gate.set()
        await stopping
    assert work.ended == 1
    assert await redis.llen("resque:queue:q") == 2
    assert not await redis.keys("resque:worker*")


@pytest.mark.promise("stopped", "plain")
async def test_unfinished_jobs_go_back_in_their_old_order(redis_url: str, redis: Any) -> None:
    """Several jobs of several queues stand at the heads of their queues again, byte for byte, as
    they did, although they end in any order when they are cancelled.
    """

    async def slow_to_end(number: int) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep((number * 7 % 5) * 0.01)

    before = {f"resque:queue:{q}": [job(n, "slow", q) for n in range(5)] for q in ("a", "b", "c")}
    for key, jobs in before.items():
        await redis.rpush(key, *jobs)
    async with working(
        redis_url,
        {"slow": slow_to_end},
        "a,b,c",
        slots=12,
        stop_timeout_s=0.05,
        cancel_timeout_s=20,
    ) as work:
        await wait_for(lambda: len(work.args("job")) == 12)
    assert {key: await redis.lrange(key, 0, -1) for key in before} == before
    assert not await redis.keys("resque:worker*")
    assert await redis.get("resque:stat:failed") is None


async def test_the_second_stop_is_at_once(redis_url: str, redis: Any) -> None:
    """`stop_now` ends a stop that waits without limit, and returns the jobs."""
    async with Queue(redis_url) as queue, working(redis_url, {"forever": forever}, "q") as work:
        await queue.enqueue("q", "forever")
        await wait_for(lambda: work.args("job"))
        draining = asyncio.ensure_future(work.worker.stop(None))
        await asyncio.sleep(0.05)
        assert not draining.done()
        await work.worker.stop_now()
        await draining
    assert await redis.llen("resque:queue:q") == 1


@pytest.mark.promise("stopped", "at most once")
@pytest.mark.parametrize("started", [True, False])
async def test_at_most_once_goes_to_failed_if_it_started(
    redis_url: str, redis: Any, started: bool
) -> None:
    """A job that may not be repeated fails if it had begun, and goes back if it had not."""
    arrived = asyncio.Event()

    class Hold(Plugin):
        """Keeps the job from beginning."""

        async def before_perform(self, run: Any) -> bool:
            if not started:
                arrived.set()
                await asyncio.sleep(3600)
            return True

    async def run_on() -> None:
        arrived.set()
        await asyncio.sleep(3600)

    task = {"perform": run_on, "at_most_once": True, "plugins": [Hold]}
    async with (
        Queue(redis_url) as queue,
        working(redis_url, {"once": task}, "q", stop_timeout_s=0.05),
    ):
        await queue.enqueue("q", "once")
        await arrived.wait()
    state = await dump(redis)
    assert ("resque:failed" in state) is started
    assert ("resque:queue:q" in state) is not started
    assert "resque:resqpy:at_most_once" not in state
    if started:
        assert json.loads(state["resque:failed"][0])["exception"] == "WorkerStopped"


@pytest.mark.parametrize("kind", ["async", "thread", "sleeping thread"])
async def test_a_job_that_does_not_end_is_given_up(redis_url: str, redis: Any, kind: str) -> None:
    """A task that swallows its cancellation, a thread in an endless call: the job goes back and
    `stop` returns.
    """
    begun, over, awake = threading.Event(), threading.Event(), threading.Lock()
    awake.acquire()

    async def stubborn() -> None:
        begun.set()
        while not over.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)

    def stubborn_thread() -> None:
        begun.set()
        while not over.is_set():
            with contextlib.suppress(BaseException):
                time.sleep(0.01)

    def sleeping() -> None:
        begun.set()
        awake.acquire()

    task = {"async": stubborn, "thread": stubborn_thread, "sleeping thread": sleeping}[kind]
    async with (
        Queue(redis_url) as queue,
        working(redis_url, {"task": task}, "q", stop_timeout_s=0.05, cancel_timeout_s=0.2),
    ):
        await queue.enqueue("q", "task", [])
        await wait_for(begun.is_set)
    assert await redis.llen("resque:queue:q") == 1
    assert not await redis.keys("resque:worker*")
    over.set()
    awake.release()


async def test_a_task_that_returns_when_cancelled_has_succeeded(redis_url: str, redis: Any) -> None:
    """It did its work, in spite of the cancellation; so it is not repeated."""
    begun = asyncio.Event()

    async def quick_to_finish(_: int) -> str:
        begun.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        return "done"

    await redis.rpush("resque:queue:q", job(1, "t"))
    async with working(redis_url, {"t": quick_to_finish}, "q", stop_timeout_s=0.05) as work:
        await begun.wait()
    assert work.args("success")[0][3] == "done"
    assert await redis.llen("resque:queue:q") == 0


async def test_a_plugin_may_finish_after_the_task(redis_url: str, redis: Any) -> None:
    """A job whose task is over is not cancelled for the sake of what its plugins have still to do."""
    after: list[str] = []
    begun = asyncio.Event()

    class Slow(Plugin):
        """Takes its time after the job."""

        async def after_perform(self, run: Any) -> None:
            begun.set()
            await asyncio.sleep(0.3)
            after.append("done")

    jobs = {"t": {"perform": no_op, "plugins": [Slow]}}
    await redis.rpush("resque:queue:q", job(1, "t"))
    async with working(redis_url, jobs, "q", stop_timeout_s=0.05, cancel_timeout_s=20) as work:
        await begun.wait()
    assert after == ["done"]
    assert len(work.args("success")) == 1


async def test_resume_does_not_undo_a_stop(redis_url: str, redis: Any) -> None:
    """Once it is stopping, it takes nothing more."""
    gate = asyncio.Event()

    async def wait() -> None:
        await gate.wait()

    async with (
        Queue(redis_url) as queue,
        working(redis_url, {"wait": wait}, "q", slots=2, timeout_s=60, heartbeat_s=60) as work,
    ):
        await queue.enqueue("q", "wait")
        await wait_for(lambda: work.args("job"))
        await work.until_quiet()  # what was asked before the stop is still taken
        stopping = asyncio.ensure_future(work.worker.stop())
        await asyncio.sleep(0)
        work.worker.resume()
        await queue.enqueue("q", "wait")
        await asyncio.sleep(0.1)
        gate.set()
        await stopping
    assert len(work.args("job")) == 1


async def test_ends_that_can_not_be_written_do_not_hold_up_the_stop(
    redis_url: str, redis: Any
) -> None:
    """Where `failed` is no list, the job stays on record for the rescue, and its worker registered."""

    async def fail() -> None:
        raise ValueError

    await redis.set("resque:failed", "no list")
    async with (
        Queue(redis_url) as queue,
        working(redis_url, {"fail": fail}, "q", stop_timeout_s=0.05) as work,
    ):
        await queue.enqueue("q", "fail")
        await wait_for(lambda: work.errors)
        [worker_id] = map(str, work.worker.worker_ids)
    assert await redis.exists(f"resque:worker:{worker_id}")


@pytest.mark.parametrize("after_ms", [0, 1, 2, 3, 5, 8])
async def test_a_stop_in_the_middle_of_everything_loses_nothing(
    redis_url: str, redis: Any, after_ms: int
) -> None:
    """Stopped at any moment of a drain, each job has run or stands in its queue, in order."""
    ran: list[int] = []

    async def note(number: int) -> None:
        await asyncio.sleep(0.001)
        ran.append(number)

    count = 3000
    async with Queue(redis_url) as queue:
        await queue.enqueue_many([("q", "note", [n]) for n in range(count)])
    work = Working(new_worker(redis_url, {"note": note}, "q", slots=20), QUIET)
    await work.worker.start()
    await asyncio.sleep(after_ms / 1000)
    await work.worker.stop_now()

    left = [json.loads(raw)["args"][0] for raw in await redis.lrange("resque:queue:q", 0, -1)]
    assert sorted(ran + left) == list(range(count))
    assert left == sorted(left)
    assert not await redis.keys("resque:worker*")


async def test_slots_that_close_lose_nothing(redis_url: str, redis: Any) -> None:
    """Growing and shrinking in the middle of a drain: each job runs once, and nobody stays behind."""
    ran: list[int] = []

    async def note(number: int) -> None:
        ran.append(number)
        await asyncio.sleep(0)

    count = 5000
    async with Queue(redis_url) as queue:
        await queue.enqueue_many([("q", "note", [n]) for n in range(count)])
    async with working(redis_url, {"note": note}, "q", slots=10, heartbeat_s=0.01) as work:
        pool = work.worker.pool
        while len(ran) < count:
            pool.close_slots(5)
            await asyncio.sleep(0.005)
            await pool.open_slots(5)
            await asyncio.sleep(0.005)
        await wait_for(lambda: not pool.slots.busy)
        pool.close_slots(7)
        await wait_for(lambda: pool.slots.size == 3 == len(pool.slots.all))

        async def registered() -> bool:
            ids = {member.decode() for member in await redis.smembers("resque:workers")}
            return ids == set(map(str, work.worker.worker_ids))

        await wait_for(registered)
    assert sorted(ran) == list(range(count))
    assert not await redis.keys("resque:worker*")


async def test_a_busy_slot_that_closes_goes_when_its_job_has_ended(redis_url: str) -> None:
    """At once, though no further job wakes anybody."""
    gate = asyncio.Event()

    async def wait() -> None:
        await gate.wait()

    async with (
        Queue(redis_url) as queue,
        working(redis_url, {"wait": wait}, "q", slots=3, heartbeat_s=60, timeout_s=60) as work,
    ):
        await queue.enqueue_many([("q", "wait", [])] * 3)
        await wait_for(lambda: len(work.args("job")) == 3)
        await work.until_quiet()
        work.worker.pool.close_slots(2)
        gate.set()
        await wait_for(lambda: len(work.worker.worker_ids) == 1)
