"""Locks and counts under the keys of Ruby's plugins, as their sources have them."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import pytest

from resqpy.base.errors import InvalidJob, UsageError
from resqpy.base.keys import Keys
from resqpy.base.ruby_text import ruby_joined
from resqpy.engine.definition import define
from tests.plugins.conftest import MakeStage
from tests.plugins.stage import Gate

LOCK, LONER = "resque:lock:job:1-x", "resque:loner:lock:job:1-x"
COUNT = f"resque:resque-retry:job:{hashlib.sha1(b'1-x').hexdigest()}"
RESQUE_LOCK = 'resque:lock:job-[1, "x"]'


def task(perform: Any, plugin: str, **options: Any) -> dict[str, Any]:
    """With a plugin that shares Ruby's keys."""
    options = {plugin: {"keys": "ruby"} | options}
    return {"perform": perform, "plugins": [plugin], "plugin_options": options}


@pytest.mark.parametrize(
    ("args", "joined"),
    [
        ([], ""),
        ([1, "x"], "1-x"),
        ([True, False, None, "a b"], "true-false--a b"),
        ([1.0, 1e20, [1, ["x", []]]], "1.0-1.0e+20-1-x-"),
    ],
)
def test_arguments_as_ruby_joins_them(args: list[Any], joined: str) -> None:
    """`args.join("-")`."""
    assert ruby_joined(args) == joined


def test_the_keys() -> None:
    """Without arguments the locks end with a colon, and the count does not."""
    keys = Keys()
    assert keys.ruby_lock("A", "") == "resque:lock:A:"
    assert keys.ruby_lock("A", "1", "loner:") == "resque:loner:lock:A:1"
    assert keys.ruby_retry("A", "") == "resque:resque-retry:A"
    sha1 = hashlib.sha1("é 1".encode()).hexdigest()
    assert keys.ruby_retry("A", "é 1") == f"resque:resque-retry:A:{sha1}"
    assert keys.ruby_retry("A", "é 1", "failure-") == f"resque:failure-resque-retry:A:{sha1}"
    assert keys.resque_lock("A", "[]") == "resque:lock:A-[]"


async def test_ruby_sees_that_it_runs(make_stage: MakeStage) -> None:
    """resque-lock-timeout takes no lock whose value is in the future."""
    gate = Gate()
    stage = make_stage(job=task(gate, "JobLock", lockTimeout=30))
    await stage.queue.enqueue("q", "job", [1, "x"])
    before_s = int(time.time())
    async with stage.working():
        await gate.entered.wait()
        value = await stage.redis.get(LOCK)
        gate.open.set()
        await stage.until_idle()
    assert before_s < int(value) <= before_s + 60
    assert await stage.redis.exists(LOCK) == 0


@pytest.mark.parametrize(("over_in_s", "runs"), [(60, False), (-60, True), (None, False)])
async def test_what_ruby_holds_is_waited_for(
    make_stage: MakeStage, over_in_s: int | None, runs: bool
) -> None:
    """Until the second in its value; one without a time (`true`) is held until Ruby frees it."""
    gate = Gate()
    gate.open.set()
    stage = make_stage(job=task(gate, "JobLock"))
    held = "true" if over_in_s is None else str(int(time.time()) + over_in_s)
    await stage.redis.set(LOCK, held)
    await stage.queue.enqueue("q", "job", [1, "x"])
    async with stage.working():
        await stage.until_idle()
    assert gate.entered.is_set() is runs
    assert (await stage.redis.get(LOCK) is None) is runs
    assert await stage.redis.exists("resque:delayed_queue_schedule") == (not runs)


async def test_one_in_the_queue(make_stage: MakeStage) -> None:
    """Its loner: whoever enqueues."""
    stage = make_stage(job=task(print, "QueueLock"))
    await stage.redis.set(LONER, str(int(time.time()) + 60))
    assert not await stage.queue.enqueue("q", "job", [1, "x"])
    assert await stage.queue.enqueue("q", "job", [2, "x"])
    await stage.redis.delete(LONER)
    assert await stage.queue.enqueue("q", "job", [1, "x"])
    assert int(await stage.redis.get(LONER)) > time.time()
    async with stage.working():
        await stage.until_idle()
    assert await stage.redis.exists(LONER) == 0


async def test_attempts_are_counted_together(make_stage: MakeStage) -> None:
    """Ruby's count is 0 while its first attempt runs, and stays so when that fails."""

    def fail(*_: Any) -> None:
        raise ValueError("no")

    stage = make_stage(job=task(fail, "Retry", retryLimit=3))
    await stage.redis.set(COUNT, "0")
    await stage.queue.enqueue("q", "job", [1, "x"])
    async with stage.working():
        await stage.until_idle()
    assert await stage.redis.get(COUNT) in (b"1", "1")  # the second; one more is left

    await stage.queue.enqueue("q", "job", [1, "x"])
    async with stage.working():
        await stage.until_idle()
    assert await stage.redis.exists(COUNT) == 0
    assert await stage.redis.llen("resque:failed") == 1


@pytest.mark.parametrize("keys", ["ruby", "resque-lock"], ids=["loner", "lock"])
async def test_arguments_that_have_no_text_are_refused(make_stage: MakeStage, keys: str) -> None:
    """What `inspect` makes of a hash depends on the version of Ruby."""
    stage = make_stage(job=task(print, "QueueLock", keys=keys))
    with pytest.raises(InvalidJob, match="ruby_version"):
        await stage.queue.enqueue("q", "job", [{"a": 1}])


@pytest.mark.parametrize(
    ("version", "pair"),
    [("3.1", '"a"=>1'), ("3.3.6", '"a"=>1'), ("3.4", '"a" => 1'), ("4.0", '"a" => 1')],
)
async def test_objects_as_that_ruby_writes_them(
    make_stage: MakeStage, version: str, pair: str
) -> None:
    """Both gems of locks, and the count."""
    options = {"rubyVersion": version}
    stage = make_stage(
        job=task(print, "QueueLock", keys="resque-lock", **options),
        other=task(print, "QueueLock", **options),
    )
    await stage.queue.enqueue("q", "job", [{"a": 1}])
    await stage.queue.enqueue("q", "other", [{"a": 1}])
    assert f"resque:lock:job-[{{{pair}}}]" in await stage.left()
    assert f"resque:loner:lock:other:{{{pair}}}" in await stage.left()


async def test_resque_lock_is_held_until_the_end(make_stage: MakeStage) -> None:
    """From the enqueue, over the queue and the run; the value is the second at which it is over."""
    gate = Gate()
    stage = make_stage(job=task(gate, "QueueLock", keys="resque-lock", lockTimeout=30))
    before_s = int(time.time())
    assert await stage.queue.enqueue("q", "job", [1, "x"])
    assert not await stage.queue.enqueue("q", "job", [1, "x"])
    assert await stage.queue.enqueue("q", "job", [2, "x"])
    assert before_s + 30 < int(await stage.redis.get(RESQUE_LOCK)) <= time.time() + 31
    async with stage.working():
        await gate.entered.wait()
        assert not await stage.queue.enqueue("q", "job", [1, "x"])
        gate.open.set()
        await stage.until_idle()
    assert not await stage.redis.exists(RESQUE_LOCK)
    assert await stage.queue.enqueue("q", "job", [1, "x"])


@pytest.mark.parametrize(("over_in_s", "fine"), [(60, False), (-60, True)])
async def test_resque_lock_of_ruby_s(make_stage: MakeStage, over_in_s: int, fine: bool) -> None:
    """It has no expiry of Redis, only its value."""
    stage = make_stage(job=task(print, "QueueLock", keys="resque-lock"))
    await stage.redis.set(RESQUE_LOCK, int(time.time()) + over_in_s)
    assert bool(await stage.queue.enqueue("q", "job", [1, "x"])) is fine


async def test_a_key_of_the_class_with_ruby_s_rules(make_stage: MakeStage) -> None:
    """What Ruby's class says by `lock` or `identifier` of its own; then an object may be an argument."""
    gate = Gate()
    graph = {"keys": "resque-lock", "key": "resque:network-graph"}
    stage = make_stage(
        job=task(gate, "QueueLock", **graph),
        other=task(gate, "JobLock", key=lambda job: f"resque:lock:X:{job.args[0]['id']}"),
    )
    await stage.redis.set("resque:lock:X:7", int(time.time()) - 60)  # Ruby's, and over
    assert await stage.queue.enqueue("q", "job", [{"id": 1}])
    assert not await stage.queue.enqueue("q", "job", [{"id": 2}])
    await stage.queue.enqueue("q", "other", [{"id": 7}])
    async with stage.working(2):
        await stage.until_running(2)
        assert not await stage.queue.enqueue("q", "job", [{"id": 2}])
        assert int(await stage.redis.get("resque:lock:X:7")) > time.time()
        gate.open.set()
        await stage.until_idle()
    assert await stage.redis.keys("resque:lock:*") == await stage.redis.keys("*graph") == []


@pytest.mark.parametrize("tries", [1, 2])
async def test_resque_lock_is_free_after_each_failure(make_stage: MakeStage, tries: int) -> None:
    """Also after one that is retried: the retry takes it again when it is due, as in Ruby."""

    def fail(*_: Any) -> None:
        raise ValueError("no")

    options = {"QueueLock": {"keys": "resque-lock"}, "Retry": {"retryLimit": tries}}
    job = {"perform": fail, "plugins": ["Retry", "QueueLock"], "plugin_options": options}
    stage = make_stage(job=job)
    await stage.queue.enqueue("q", "job", [1, "x"])
    await stage.drain()
    assert not await stage.redis.exists(RESQUE_LOCK)
    assert await stage.redis.zcard("resque:delayed_queue_schedule") == tries - 1


async def test_resque_lock_stays_with_a_job_that_a_stop_puts_back(make_stage: MakeStage) -> None:
    """It waits again."""
    gate = Gate()
    stage = make_stage(job=task(gate, "QueueLock", keys="resque-lock"))
    await stage.queue.enqueue("q", "job", [1, "x"])
    async with stage.working() as worker:
        await gate.entered.wait()
        await worker.stop(0)
    assert await stage.redis.llen("resque:queue:q") == 1
    assert not await stage.queue.enqueue("q", "job", [1, "x"])


@pytest.mark.parametrize(
    ("plugin", "options"),
    [
        ("JobLock", {"keys": "php"}),
        ("Retry", {"keys": 1}),
        ("Retry", {"keys": "resque-lock"}),
        ("JobLock", {"keys": "resque-lock"}),
        ("JobLock", {"keys": "ruby", "rubyVersion": 3.4}),
        ("QueueLock", {"keys": "ruby", "ruby_version": "three"}),
        ("QueueLock", {"ruby_version": "3.4"}),
        ("QueueLock", {"keys": "ruby", "key": ""}),
    ],
)
def test_wrong_options(plugin: str, options: dict[str, Any]) -> None:
    """When the task is defined."""
    with pytest.raises(UsageError, match=r"key|ruby_version"):
        define("job", print, plugins=[plugin], plugin_options={plugin: options})
