"""Who leads: the rounds of the election, and what happens when Redis can't be asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from resqpy.base.clock import FixedClock
from resqpy.embedded import PrivateServer
from resqpy.engine.scheduler.election import Election
from resqpy.framework.api.scheduler import Scheduler
from resqpy.framework.config.sections import SchedulerOptions
from resqpy.store.connection.client import RedisClock, Store
from resqpy.store.connection.options import RedisOptions
from tests.support.waiting import wait_for

Elect = Callable[..., Election]


@pytest.fixture
async def elect(redis_url: str) -> AsyncIterator[Elect]:
    """A function that makes candidates on the test's Redis."""
    store = Store(RedisOptions(url=redis_url))
    made: list[Election] = []

    def candidate(name: str, clock: Any = None, **options: Any) -> Election:
        more = {} if clock is None else {"clock": clock}
        made.append(
            Election(store, SchedulerOptions(**options), name, lambda: None, lambda _: None, **more)
        )
        return made[-1]

    yield candidate
    for each in made:
        await each.resign()
    await store.close()


async def test_one_of_many_leads(elect: Elect) -> None:
    """However many stand at the same time."""
    candidates = [elect(str(number)) for number in range(10)]

    await asyncio.gather(*(each.ask() for each in candidates))

    assert sum(each.leadership() is not None for each in candidates) == 1


async def test_the_scopes_have_their_fences(elect: Elect) -> None:
    """The lease alone, or with both foreign locks."""
    candidate = elect("me")
    await candidate.ask()

    own, shared = candidate.leadership("own"), candidate.leadership("shared")

    assert own is not None
    assert shared is not None
    assert own.fence == ("resque:resqpy:leader",)
    assert shared.fence[1:] == (
        "resque:resque:resque_scheduler_master_lock",
        "resque:resque_scheduler_leader_lock",
    )
    assert (own.token, own.epoch) == ("me/1", 1)


async def test_a_leader_that_can_not_renew_stops_before_its_lease_ends(elect: Elect) -> None:
    """It goes by its own clock that never steps, from before it asked."""
    clock = FixedClock(1_800_000_000_000)
    candidate = elect("me", clock)
    await candidate.ask()
    clock.advance(9_999)
    assert candidate.leadership() is not None
    clock.advance(1)
    assert candidate.leadership() is None


async def test_a_step_of_this_machines_clock_does_not_matter(elect: Elect, redis: Any) -> None:
    """Time is Redis': an estimate by a clock that never steps."""
    seconds, us = await redis.time()
    clock = FixedClock(1_000_000_000_000)  # decades ago
    candidate = elect("me", clock)

    await candidate.ask()

    assert 0 <= candidate.clock.now_us() - (seconds * 1_000_000 + us) < 5_000_000


def test_redis_clock_goes_on_between_answers() -> None:
    """The estimate follows the clock that never steps, and each answer corrects it."""
    clock = FixedClock(500_000)
    estimate = RedisClock(clock)
    assert estimate.now_ms() == 500_000
    estimate.note(1_000_000_000)
    clock.advance(250)
    assert estimate.now_ms() == 1_000_250
    estimate.note(999_000_000)
    assert estimate.now_ms() == 999_000


async def test_the_events_follow_the_leadership() -> None:
    """A leader whose Redis is gone follows, says so, and leads again when it is back."""
    with PrivateServer() as server:
        options = SchedulerOptions(lease_s=1.5, timeout_s=0.2)
        scheduler = Scheduler(server.url, options=options)
        events: list[str] = []
        for event in ("leader", "follower"):
            scheduler.on(event, lambda event=event: events.append(event))
        errors: list[Exception] = []
        scheduler.on("error", errors.append)
        async with scheduler:
            await wait_for(lambda: scheduler.promoting)
            server.kill()
            await wait_for(lambda: events == ["leader", "follower"])
            assert not scheduler.leader
            server.start()
            await wait_for(lambda: scheduler.promoting)
        assert events == ["leader", "follower", "leader"]
        assert errors


async def test_a_flushed_redis_is_no_end(redis_url: str, redis: Any) -> None:
    """The lease is taken again, and promotion goes on."""
    options = SchedulerOptions(lease_s=0.4)
    async with Scheduler(redis_url, options=options) as scheduler:
        await wait_for(lambda: scheduler.promoting)
        await redis.flushall()
        await redis.rpush("resque:delayed:1000", '{"class":"A","queue":"q","args":[]}')
        await redis.zadd("resque:delayed_queue_schedule", {"1000": 1000})
        await wait_for(lambda: redis.exists("resque:queue:q"))
