"""Locks and counts that the gems of Ruby and our plugins share (`keys: "ruby"`, `"resque-lock"`)."""

from __future__ import annotations

import random
from typing import Any

import pytest

from resqpy.base.keys import Keys
from resqpy.base.ruby_text import ruby_inspect, ruby_joined
from tests.interop.test_ruby_text import FIXED, some_value
from tests.plugins.conftest import MakeStage
from tests.plugins.stage import Gate, Stage
from tests.support.foreign import RubyDriver

ARGS = [7, "a b", [None, 1.0]]


async def test_names_of_keys(ruby_plugins: RubyDriver, ruby_arrow: str) -> None:
    """Of arguments at random."""
    dice, keys = random.Random(9), Keys("")
    for args in [*FIXED, *([some_value(dice) for _ in range(3)] for _ in range(300))]:
        joined = ruby_joined(args, ruby_arrow)
        assert await ruby_plugins.call("plugin_keys", args) == [
            keys.resque_lock("Locked", ruby_inspect(args, ruby_arrow)),
            keys.ruby_lock("Loner", joined),
            keys.ruby_lock("Loner", joined, "loner:"),
            keys.ruby_retry("Retried", joined),
        ]


@pytest.fixture
def stage(make_stage: MakeStage) -> Stage:
    """Locked, Loner and Retried as Ruby has them."""
    return make_stage(
        Locked={
            "perform": _through(),
            "plugins": ["QueueLock"],
            "plugin_options": {"QueueLock": {"keys": "resque-lock"}},
        },
        Loner={
            "perform": _through(),
            "plugins": ["JobLock", "QueueLock"],
            "plugin_options": {"QueueLock": {"keys": "ruby"}, "JobLock": {"keys": "ruby"}},
        },
        Retried={
            "perform": fail,
            "plugins": ["Retry"],
            "plugin_options": {"Retry": {"keys": "ruby", "retryLimit": 3, "retryDelay": 60_000}},
        },
    )


def _through() -> Gate:
    gate = Gate()
    gate.open.set()
    return gate


def fail(*_: Any) -> None:
    """As Ruby's."""
    raise ValueError("no")


@pytest.mark.parametrize("name", ["Locked", "Loner"])
async def test_one_of_ruby_s_stops_ours(ruby_plugins: RubyDriver, stage: Stage, name: str) -> None:
    """Until we have run it."""
    assert await ruby_plugins.call("enqueue_to", "q", name, ARGS)
    assert not await stage.queue.enqueue("q", name, ARGS)
    assert await stage.queue.enqueue("q", name, [8])
    await stage.drain()
    assert await stage.queue.enqueue("q", name, ARGS)


@pytest.mark.parametrize("name", ["Locked", "Loner"])
async def test_one_of_ours_stops_ruby_s(ruby_plugins: RubyDriver, stage: Stage, name: str) -> None:
    """Until Ruby has run it."""
    assert await stage.queue.enqueue("q", name, ARGS)
    assert not await ruby_plugins.call("enqueue_to", "q", name, ARGS)
    assert await ruby_plugins.call("enqueue_to", "q", name, [8])
    await ruby_plugins.call("worker.drain", {"queues": ["q"]})
    assert await stage.redis.lrange("resque:failed", 0, -1) == []
    assert await ruby_plugins.call("enqueue_to", "q", name, ARGS)
    assert not await stage.queue.enqueue("q", name, ARGS)


async def test_ruby_does_not_run_beside_ours(ruby_plugins: RubyDriver, stage: Stage) -> None:
    """resque-lock-timeout drops such a job."""
    gate: Gate = stage.jobs["Loner"]["perform"]
    gate.open.clear()
    await stage.queue.enqueue("q", "Loner", ARGS)
    async with stage.working():
        await gate.entered.wait()
        await stage.redis.rpush(
            "resque:queue:ruby", '{"class":"Loner","args":[7,"a b",[null,1.0]]}'
        )
        await ruby_plugins.call("worker.drain", {"queues": ["ruby"]})
        assert await stage.redis.lrange("interop:ran", 0, -1) == []
        gate.open.set()
        await stage.until_idle()
    await ruby_plugins.call("enqueue_to", "ruby", "Loner", ARGS)
    await ruby_plugins.call("worker.drain", {"queues": ["ruby"]})
    assert await stage.redis.llen("interop:ran") == 1


async def test_attempts_are_one_count(ruby_plugins: RubyDriver, stage: Stage) -> None:
    """Ruby's first attempt, our second, Ruby's third and last."""
    counts = []
    await ruby_plugins.call("enqueue_to", "q", "Retried", ARGS)
    for ruby_s in (True, False, True):
        if ruby_s:
            await ruby_plugins.call("worker.drain", {"queues": ["q"]})
        else:
            await stage.drain()
        counts.append(await stage.redis.get(Keys().ruby_retry("Retried", ruby_joined(ARGS))))
        await stage.come_due()
    assert counts == [b"0", b"1", None]
    assert await stage.redis.llen("resque:queue:q") == 0
