"""Slots that have gone, registered again by what Redis did late: they do not stay for others to see."""

from __future__ import annotations

from typing import Any

import pytest

from resqpy.base.errors import OutcomeUnknown
from resqpy.store.connection.client import script
from tests.support.proxy import Proxy
from tests.support.waiting import wait_for
from tests.support.working import Working, working


async def registered(redis: Any, count: int) -> None:
    """Return when so many workers are registered."""

    async def are() -> bool:
        return int(await redis.scard("resque:workers")) == count

    await wait_for(are, message=f"{count} workers are registered")


async def shrunk(work: Working, redis: Any) -> Any:
    """Let two of three slots go; a sign of life that was asked for before, and comes to Redis only now."""
    assert work.worker._wakeup is not None
    heartbeat = work.worker._wakeup.heartbeat
    before = heartbeat._vitals()
    work.worker.pool.close_slots(2)
    await registered(redis, 1)
    vitals, late = heartbeat._vitals, [before]
    heartbeat._vitals = lambda: late.pop() if late else vitals()
    return heartbeat


@pytest.mark.parametrize("stops", [False, True])
async def test_by_a_sign_of_life_without_an_answer(
    redis_url: str, redis: Any, stops: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one that is answered takes them away, and so does the end of the process."""
    monkeypatch.setattr("resqpy.engine.worker.heartbeat._AGAIN_S", 3600.0)
    async with Proxy(redis_url) as proxy:
        proxy.needle = script("beat").sha.encode()
        await redis.script_load(script("beat").text)
        async with working(proxy.url, {}, "q", slots=3, heartbeat_s=60) as work:
            heartbeat = await shrunk(work, redis)
            proxy.lose_reply(1)
            heartbeat.beat_now()
            await registered(redis, 3)
            if not stops:
                await wait_for(lambda: not heartbeat._wake.is_set())
                heartbeat.beat_now()
                await registered(redis, 1)
    assert await redis.smembers("resque:workers") == set()


@pytest.mark.parametrize("stops", [False, True])
async def test_by_a_registration_without_an_answer(
    redis_url: str, redis: Any, stops: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More slots were wanted, and nobody knows whether Redis has heard of them."""
    async with working(redis_url, {}, "q", slots=1, heartbeat_s=60) as work:
        slots = work.worker.pool.slots
        register = slots._register

        async def unanswered(*given: Any) -> None:
            await register(*given)
            assert await redis.scard("resque:workers") == 3
            raise OutcomeUnknown("the reply is lost")

        monkeypatch.setattr(slots, "_register", unanswered)
        with pytest.raises(OutcomeUnknown):
            await work.worker.pool.open_slots(2)
        if not stops:
            work.worker.pool.look()
            await registered(redis, 1)
    assert await redis.smembers("resque:workers") == set()
