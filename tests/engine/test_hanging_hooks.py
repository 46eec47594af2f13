"""Enqueue hooks that hang at a promotion: their jobs fail with their bytes, and the others don't wait."""

from __future__ import annotations

import asyncio
import json
from typing import Any, ClassVar

import pytest

from resqpy import Scheduler
from resqpy.engine.plugin import Plugin
from tests.support.waiting import wait_for


async def no_op(*_: Any) -> None:
    """A task."""


class Hangs(Plugin):
    """Hangs before it."""

    hook_timeout: ClassVar[Any] = None
    asked: ClassVar[list[Any]] = []
    swallows: ClassVar[bool] = False

    @classmethod
    def was_asked(cls) -> bool:
        """Whether it was."""
        return bool(cls.asked)

    async def before_enqueue(self, job: Any) -> bool:
        self.asked.append(job.args)
        for swallowed in range(4):  # as many as it takes, and none more: the test's loop is to end
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                if not self.swallows or swallowed == 2:
                    raise
        return True


class Hooked(Plugin):
    """Has hooks."""

    async def before_enqueue(self, job: Any) -> bool:
        return True


def new_hanging(timeout_ms: int | None, *, swallows: bool = False) -> type[Hangs]:
    """A plugin that hangs."""

    class Hanging(Hangs):
        hook_timeout = timeout_ms
        asked: ClassVar[list[Any]] = []

    Hanging.swallows = swallows
    return Hanging


def job(name: str, number: int) -> bytes:
    """A job's bytes, which are not as we would write them."""
    return b'{ "class":"%s", "queue":"q", "args":[%d] }' % (name.encode(), number)


async def delay(redis: Any, *jobs: bytes) -> None:
    """Make jobs due."""
    await redis.rpush("resque:delayed:1000", *jobs)
    await redis.zadd("resque:delayed_queue_schedule", {"1000": 1000})


async def test_others_do_not_wait_for_it(redis_url: str, redis: Any) -> None:
    """More of them hang than are asked at once, and what is due with them and later goes on."""
    hanging = new_hanging(None)
    jobs = {
        "bad": {"perform": no_op, "plugins": [hanging]},
        "good": {"perform": no_op, "plugins": [Hooked]},
    }
    await delay(redis, *(job("bad", n) for n in range(50)), job("good", 1))
    async with Scheduler(redis_url, jobs):
        await wait_for(lambda: redis.llen("resque:queue:q"))
        await delay(redis, job("good", 2))

        async def both() -> bool:
            return bool(await redis.llen("resque:queue:q") == 2)

        await wait_for(both)
        assert sorted(args[0] for args in hanging.asked) == list(range(50))
    assert await redis.lrange("resque:queue:q", 0, -1) == [job("good", 1), job("good", 2)]
    assert await redis.llen("resque:resqpy:claimed") == 50


@pytest.mark.parametrize("swallows", [False, True])
async def test_it_is_cut_off(
    redis_url: str, redis: Any, swallows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job stands in the failed list, with its own bytes, and is forgotten elsewhere."""
    monkeypatch.setattr("resqpy.base.concurrency.limited.GRACE_S", 0.02)
    jobs = {"bad": {"perform": no_op, "plugins": [new_hanging(30, swallows=swallows)]}}
    await delay(redis, job("bad", 1), job("bad", 1))
    async with Scheduler(redis_url, jobs):

        async def failed() -> list[bytes]:
            found: list[bytes] = await redis.lrange("resque:failed", 0, -1)
            return found if len(found) == 2 else []

        entries = await wait_for(failed)
    for raw in entries:
        assert json.loads(raw)["exception"] == "HookTimeout"
        assert job("bad", 1) in raw
    assert not await redis.exists("resque:resqpy:claimed", "resque:delayed:1000")


async def test_a_successor_goes_on(redis_url: str, redis: Any) -> None:
    """What hung for a leader that is gone is cut off by the next one, which also serves the others."""
    await delay(redis, job("bad", 1))
    for timeout_ms in (None, 30):
        hanging = new_hanging(timeout_ms)
        async with Scheduler(redis_url, {"bad": {"perform": no_op, "plugins": [hanging]}}):
            await wait_for(hanging.was_asked)
            if timeout_ms:
                await wait_for(lambda: redis.llen("resque:failed"))
    assert not await redis.exists("resque:resqpy:claimed")


@pytest.mark.parametrize("error", [SystemExit(1), asyncio.CancelledError(), GeneratorExit()])
async def test_what_a_hook_raises_ends_no_leader(
    redis_url: str, redis: Any, error: BaseException
) -> None:
    """Whatever it is, its job fails."""

    class Raises(Plugin):
        async def before_enqueue(self, job: Any) -> bool:
            raise error

    await delay(redis, job("bad", 1))
    async with Scheduler(redis_url, {"bad": {"perform": no_op, "plugins": [Raises]}}) as scheduler:
        await wait_for(lambda: redis.llen("resque:failed"))
        assert scheduler.running
    [raw] = await redis.lrange("resque:failed", 0, -1)
    assert json.loads(raw)["exception"] == type(error).__name__
