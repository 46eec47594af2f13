"""JobLock on the real Redis: who runs, who waits, and whose lock is freed."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest

from resqpy.base.errors import UsageError
from resqpy.engine.definition import define
from resqpy.plugins import JobLock
from tests.plugins.conftest import MakeStage
from tests.plugins.stage import Gate, Stage, wait_until
from tests.support.redis_state import ttls
from tests.support.waiting import wait_for

LOCK = "resque:workerslock:job:q:[1]"
ITEM = '{"class":"job","queue":"q","args":[1]}'


def locked(perform: Any, **options: Any) -> dict[str, Any]:
    """A task with JobLock."""
    return {"perform": perform, "plugins": ["JobLock"], "plugin_options": {"JobLock": options}}


async def run_beside(stage: Stage, gate: Gate) -> None:
    """Let one job run and its equals meet it; then let it end."""
    async with stage.working(slots=3):
        await gate.entered.wait()
        await stage.until_running(1)
        gate.open.set()
        await stage.until_idle()


async def test_the_lock_is_node_s_while_the_job_runs_and_gone_after_it(
    make_stage: MakeStage,
) -> None:
    """The value is the second at which it is over, and one; it expires with `lock_timeout`."""
    gate = Gate()
    stage = make_stage(job=locked(gate, lockTimeout=30))
    await stage.queue.enqueue("q", "job", [1])

    before = round(time.time())
    async with stage.working():
        await gate.entered.wait()
        value, expiry = await stage.redis.get(LOCK), (await ttls(stage.redis))[LOCK]
        gate.open.set()
        await stage.until_idle()

    assert before + 31 <= int(value) <= round(time.time()) + 31
    assert 25_000 < expiry <= 30_000
    assert await stage.left() == {"resque:queues": {"q"}, "resque:stat:processed": "1"}
    assert stage.events == [("success", "through")]


async def test_two_blocked_copies_are_both_delayed_and_the_lock_stays(
    make_stage: MakeStage,
) -> None:
    """Equal jobs due at the same second are two jobs, and neither frees the lock (trap 25)."""
    # Given a running job and two equal ones
    gate = Gate()
    stage = make_stage(job=locked(gate))
    await stage.queue.enqueue_many([("q", "job", [1])] * 3)
    # When they are taken while it runs
    before = time.time()
    async with stage.working(slots=3):
        await gate.entered.wait()
        await stage.until_running(1)
        await wait_for(lambda: len(stage.events) == 2)
        left = await stage.left()
        gate.open.set()
        await stage.until_idle()
    # Then both wait for their time, and the lock was there
    seconds = sorted(float(second) for second in left["resque:delayed_queue_schedule"])
    items = [left[f"resque:delayed:{second:.0f}"] for second in seconds]
    assert [item for each in items for item in each] == [ITEM, ITEM]
    assert left[f"resque:timestamps:{ITEM}"] == {f"delayed:{second:.0f}" for second in seconds}
    assert before + 1.0 <= seconds[0] <= seconds[-1] <= time.time() + 2.1
    assert LOCK in left
    assert gate.runs == [[1]]
    assert stage.events[:2] == [("re_enqueue", {"delay": 1001, "lock": LOCK})] * 2
    assert not await stage.redis.exists(LOCK)
    assert await stage.redis.llen("resque:failed") == 0


async def test_a_blocked_job_is_dropped_without_re_enqueue(make_stage: MakeStage) -> None:
    """`reEnqueue: false` forgets a job whose equal runs, and counts it as nothing."""
    gate = Gate()
    stage = make_stage(job=locked(gate, reEnqueue=False))
    await stage.queue.enqueue_many([("q", "job", [1])] * 3)

    await run_beside(stage, gate)

    assert await stage.left() == {"resque:queues": {"q"}, "resque:stat:processed": "1"}
    assert stage.events == [("success", "through")]


@pytest.mark.parametrize("delay", [20_000, timedelta(seconds=20)])
async def test_the_delay_is_enqueue_timeout(make_stage: MakeStage, delay: Any) -> None:
    """Milliseconds or a timedelta."""
    stage = make_stage(job=locked(Gate(), enqueueTimeout=delay))
    await stage.redis.set(LOCK, "1")
    await stage.queue.enqueue("q", "job", [1])

    before = time.time()
    await stage.drain()

    [second] = [
        int(each) for each in await stage.redis.zrange("resque:delayed_queue_schedule", 0, -1)
    ]
    assert before + 20 <= second <= time.time() + 21
    assert await stage.redis.get(LOCK) == b"1"


async def test_jobs_with_other_arguments_don_t_wait(make_stage: MakeStage) -> None:
    """The lock is of name, queue and arguments."""
    gate = Gate()
    stage = make_stage(job=locked(gate))
    await stage.queue.enqueue_many([("q", "job", [n]) for n in range(3)])

    async with stage.working(slots=3):
        await wait_for(lambda: len(gate.runs) == 3)
        gate.open.set()
        await stage.until_idle()

    assert [name for name, _ in stage.events] == ["success"] * 3


@pytest.mark.parametrize("key", ["mine", lambda job: f"mine:{job.class_name}:{job.args[0]}"[:4]])
async def test_an_own_key_stands_without_the_namespace(make_stage: MakeStage, key: Any) -> None:
    """As in node-resque: a text, or a function of the job."""
    gate = Gate()
    stage = make_stage(job=locked(gate, key=key))
    await stage.queue.enqueue("q", "job", [1])

    async with stage.working():
        await gate.entered.wait()
        while_it_ran = await stage.left()
        gate.open.set()
        await stage.until_idle()

    assert "mine" in while_it_ran
    assert LOCK not in while_it_ran
    assert "mine" not in await stage.left()


async def test_a_failed_job_frees_its_lock(make_stage: MakeStage) -> None:
    """An error is an end like any other."""

    def fail(_: int) -> None:
        raise ValueError("boo")

    stage = make_stage(job=locked(fail))
    await stage.queue.enqueue("q", "job", [1])

    await stage.drain()

    assert set(await stage.left()) == {"resque:queues", "resque:stat:failed", "resque:failed"}


async def test_another_s_lock_is_not_freed(make_stage: MakeStage) -> None:
    """Who was robbed of its lock leaves the robber's alone."""
    gate = Gate()
    stage = make_stage(job=locked(gate))
    await stage.queue.enqueue("q", "job", [1])

    async with stage.working():
        await gate.entered.wait()
        await stage.redis.set(LOCK, "another's")
        gate.open.set()
        await stage.until_idle()

    left = await stage.left()
    assert left == {
        "resque:queues": {"q"}, "resque:stat:processed": "1", LOCK: "another's",
    }  # fmt: skip


@pytest.mark.parametrize("value", [1, 1.5])
async def test_the_lock_of_a_job_that_changes_its_arguments_is_renewed(
    make_stage: MakeStage, value: float
) -> None:
    """It is that of the arguments with which it began, whoever took it."""
    gate = Gate()

    async def perform(options: dict[str, Any]) -> None:
        options["done"] = True
        await gate()

    stage = make_stage(job=locked(perform, lockTimeout=3))
    await stage.queue.enqueue("q", "job", [{"a": value}])
    lock = f'resque:workerslock:job:q:[{{"a":{value}}}]'

    async with stage.working():
        await gate.entered.wait()
        first = await stage.redis.get(lock)
        await wait_until(lambda: _is_another(stage, lock, first))
        assert await stage.redis.exists(lock)
        gate.open.set()
        await stage.until_idle()


async def _is_another(stage: Stage, lock: str, value: bytes | None) -> bool:
    return bool(await stage.redis.get(lock) != value)


async def test_a_lock_of_a_running_job_is_renewed(make_stage: MakeStage) -> None:
    """A job that runs longer than `lock_timeout` keeps its lock."""
    gate = Gate()
    stage = make_stage(job=locked(gate, lockTimeout=3))
    await stage.queue.enqueue("q", "job", [1])

    async with stage.working():
        await gate.entered.wait()
        first = await stage.redis.get(LOCK)
        await _changed(stage, first)
        [holder] = await stage.redis.keys("resque:resqpy:job_locks:*")
        async with stage.redis.pipeline(transaction=True) as pipe:
            held, value = await pipe.hget(holder, LOCK).get(LOCK).execute()
        gate.open.set()
        await stage.until_idle()

    assert held == value > first
    assert await stage.left() == {"resque:queues": {"q"}, "resque:stat:processed": "1"}


async def _changed(stage: Stage, first: bytes) -> None:
    async def changed() -> bool:
        return await stage.redis.get(LOCK) not in (None, first)

    await wait_until(changed)


async def test_a_stop_frees_the_lock_and_returns_the_job(make_stage: MakeStage) -> None:
    """A job that did not end in time goes back to its queue, and its lock is free."""
    gate = Gate()
    stage = make_stage(job=locked(gate))
    await stage.queue.enqueue("q", "job", [1])

    async with stage.working() as worker:
        await gate.entered.wait()
        await worker.stop_now()

    assert await stage.left() == {"resque:queues": {"q"}, "resque:queue:q": [ITEM]}


async def test_a_cancelled_job_frees_its_lock(make_stage: MakeStage) -> None:
    """Cancelled on request, it fails, and its equals may run."""
    gate = Gate()
    stage = make_stage(job=locked(gate))
    await stage.queue.enqueue("q", "job", [1])

    async with stage.working() as worker:
        await gate.entered.wait()
        assert worker.cancel(str(worker.worker_ids[0]))
        await stage.until_idle()

    assert set(await stage.left()) == {"resque:queues", "resque:stat:failed", "resque:failed"}


async def test_an_inner_plugin_s_veto_frees_the_lock(make_stage: MakeStage) -> None:
    """A lock that was taken is not left behind for an hour (node-resque does)."""
    task = define("job", Gate(), plugins=["JobLock", "tests.plugins.customs.Veto"])
    stage = make_stage(job=task)
    await stage.queue.enqueue("q", "job", [1])

    await stage.drain()

    assert await stage.left() == {"resque:queues": {"q"}}


async def test_the_lock_is_freed_even_if_the_end_is_void(make_stage: MakeStage) -> None:
    """A worker whose record was taken away writes no end, but keeps no lock."""
    gate = Gate()
    stage = make_stage(job=locked(gate))
    await stage.queue.enqueue("q", "job", [1])

    async with stage.working() as worker:
        heard: list[Any] = []
        worker.on("error", lambda *args: heard.append(args))
        await gate.entered.wait()
        await stage.redis.delete(f"resque:worker:{worker.worker_ids[0]}")
        gate.open.set()
        await wait_for(lambda: heard)

    assert await stage.left() == {"resque:queues": {"q"}}


async def test_performing_inline_frees_the_lock(make_stage: MakeStage) -> None:
    """Without a worker there is no exchange, and yet no lock stays."""
    gate = Gate()
    gate.open.set()
    stage = make_stage(job=locked(gate))

    async with _unstarted(stage) as worker:
        assert await worker.perform_inline("job", [1]) == "through"
        with pytest.raises(ZeroDivisionError):
            await worker.perform_inline("divide", [0])

    assert await stage.left() == {}


def _unstarted(stage: Stage) -> Any:
    from contextlib import asynccontextmanager

    from resqpy import Worker

    @asynccontextmanager
    async def made() -> Any:
        worker = Worker(stage.url, {**stage.jobs, "divide": locked(lambda n: 1 / n)})
        try:
            yield worker
        finally:
            await worker.stop()

    return made()


async def test_two_processes_race_for_one_lock(make_stage: MakeStage) -> None:
    """Of two workers that take equal jobs at once, one runs and the other delays."""
    gate = Gate()
    stage = make_stage(job=locked(gate))
    async with stage.working(), stage.working():
        await stage.queue.enqueue_many([("q", "job", [1])] * 2)
        await gate.entered.wait()
        await wait_for(lambda: len(stage.events) == 1)
        await stage.until_running(1)
        gate.open.set()
        await stage.until_idle()

    assert [name for name, _ in stage.events] == ["re_enqueue", "success"]
    assert gate.runs == [[1]]


class OfAll(JobLock):
    """One key for all jobs, without an option."""

    def own_key(self, job: Any) -> str:
        """It."""
        return f"{job.class_name} alone"


@pytest.mark.parametrize("first", ["JobLock", OfAll])
async def test_each_of_two_locks_is_held(make_stage: MakeStage, first: Any) -> None:
    """One of Ruby's beside Node's, or one whose class names its key: none is taken for the other's."""
    gate = Gate()
    plugins = [first, JobLock({"keys": "ruby"}), OfAll()]
    stage = make_stage(job={"perform": gate, "plugins": plugins[: 2 + (first == "JobLock")]})
    await stage.queue.enqueue("q", "job", [1])

    async with stage.working():
        await gate.entered.wait()
        held = {key.decode() for key in await stage.redis.keys("*") if b"job" in key}
        gate.open.set()
        await stage.until_idle()

    own = {each for each in held if "resqpy" not in each and "worker:" not in each}
    assert own == {"resque:lock:job:1", "job alone"} | ({LOCK} if first == "JobLock" else set())
    assert await stage.left() == {"resque:queues": {"q"}, "resque:stat:processed": "1"}


async def test_a_lost_reply_neither_blocks_nor_doubles(redis_url: str) -> None:
    """Asked again, who has the lock has it; another does not."""
    from resqpy import Store
    from resqpy.store import locks
    from resqpy.store.connection.options import RedisOptions
    from resqpy.store.locks import JobLockKey

    store = Store(RedisOptions(url=redis_url))
    ours, other = JobLockKey("lock", "ours", 9), JobLockKey("lock", "other", 9)
    take = locks.take_job_lock
    assert await take(store, ours)
    assert not await take(store, ours)
    assert await take(store, ours, again=True)
    assert not await take(store, other, again=True)
    assert not await locks.hold_job_lock(store, other)
    await locks.settle(store, [other.release_command])
    assert await store.call("EXISTS", "lock") == 1
    await locks.settle(store, [ours.release_command, ours.release_command])
    assert await store.call("DBSIZE") == 0
    await store.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"lockTimeout": 0}, "lock_timeout: 0"),
        ({"lockTimeout": "1h"}, "neither seconds nor a timedelta"),
        ({"enqueueTimeout": -1}, "negative"),
        ({"reEnqueue": 0}, "re_enqueue"),
        ({"key": 7}, "key"),
        ({"lockTimout": 7}, "did you mean 'lockTimeout'"),
        ({"lock_timout": 7}, "did you mean 'lock_timeout'"),
    ],
)
def test_wrong_options_are_refused_when_the_task_is_defined(
    options: dict[str, Any], words: str
) -> None:
    """The message names the task and what is wrong."""
    with pytest.raises(UsageError, match=words) as caught:
        define("job", print, plugins=["JobLock"], plugin_options={"JobLock": options})
    assert "task 'job'" in str(caught.value)


def test_options_left_out_are_node_s() -> None:
    """None counts as left out; a fraction of a second is rounded up."""
    lock = JobLock({"lockTimeout": None, "reEnqueue": None})
    assert (lock.lock_timeout_s, lock.enqueue_timeout_ms, lock.re_enqueue) == (3600, 1001, True)
    assert JobLock({"lock_timeout": timedelta(milliseconds=1500)}).lock_timeout_s == 2


def test_waiting_for_a_lock_does_not_need_a_loop() -> None:
    """A plugin is made before any event loop is there."""
    assert asyncio.run(_made()) == 3600


async def _made() -> int:
    return JobLock().lock_timeout_s


async def test_locks_cost_no_round_trip(make_stage: MakeStage) -> None:
    """They are freed, taken and freed again in the steps that take the job and end it."""
    gate = Gate()
    gate.open.set()
    stage = make_stage(job={"perform": gate, "plugins": ["QueueLock", "Retry", "JobLock"]})
    async with stage.working(slots=4) as worker:
        await stage.queue.enqueue("q", "job", ["first"])
        await wait_for(lambda: len(stage.events) == 1)
        before = worker.store.line.round_trips
        await stage.queue.enqueue_many([("q", "job", [n]) for n in range(20)])
        await wait_for(lambda: len(stage.events) == 21)
        assert worker.store.line.round_trips == before
    assert await stage.left() == {"resque:queues": {"q"}, "resque:stat:processed": "21"}
